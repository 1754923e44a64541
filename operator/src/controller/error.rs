//! The error of a reconcile: one variant for each step.

use std::time::Duration;

use super::status::StatusError;
use super::{apply, children, dereference, key_rotation};
use crate::telemetry::reconcile_result::ReconcileStep;

/// Maximum duration of one reconcile. A reconcile makes a few requests to the API server.
pub(super) const LIMIT: Duration = Duration::from_mins(1);

/// A step of a reconcile that failed. The next reconcile tries it again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The caches or the API server did not return what the object depends on.
    #[error("failed to read what the object needs")]
    Dereference(#[source] dereference::DereferenceError),

    /// The operating system has no randomness for the keys of a new keyring.
    #[error("failed to draw random keys")]
    Random(#[source] getrandom::Error),

    /// A step of the key rotation could not be computed.
    #[error("failed to rotate the keys")]
    Keys(#[source] key_rotation::KeyChangeError),

    /// A child could not be built.
    #[error("failed to build the object's children")]
    Build(#[source] children::BuildError),

    /// A child could not be written.
    #[error("failed to write the object's children")]
    Apply(#[source] apply::ApplyError),

    /// The status could not be written.
    #[error("failed to write the object's status")]
    Status(#[source] StatusError),

    /// The API server is slow or silent, and [`LIMIT`] has passed.
    #[error("failed to finish within {} seconds", LIMIT.as_secs())]
    TimedOut,
}

impl ReconcileError {
    /// The step that failed, for metrics and logs.
    pub fn step(&self) -> ReconcileStep {
        match self {
            Self::Dereference(_) => ReconcileStep::Dereference,
            Self::Random(_) | Self::Keys(_) => ReconcileStep::Keys,
            Self::Build(_) => ReconcileStep::Build,
            Self::Apply(_) => ReconcileStep::Apply,
            Self::Status(_) => ReconcileStep::Status,
            Self::TimedOut => ReconcileStep::Timeout,
        }
    }
}
