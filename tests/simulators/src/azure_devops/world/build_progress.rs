//! The course of a build as a client can read it: timeline, earlier attempts, logs.

use serde_json::{Map, Value};

use super::log::Log;

/// Everything that can be read about the course of a build.
#[derive(Debug, Default)]
pub(crate) struct BuildProgress {
    /// Records of the current timeline. None: nothing started yet, the service says 204.
    pub(crate) records: Option<Vec<Map<String, Value>>>,
    /// Timelines of earlier attempts, by id.
    pub(crate) earlier: Vec<(String, Vec<Map<String, Value>>)>,
    pub(crate) logs: Vec<Log>,
}
