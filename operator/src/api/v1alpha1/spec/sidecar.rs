//! The auth sidecar's container, and log levels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Resources;
use super::defaults::is_default;

/// The auth sidecar. Its image belongs to the operator's release.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// Requests and limits of the sidecar's container. The operator sets defaults for cpu and memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Resources,

    /// How much the sidecar logs. Error: failures that an administrator must act on. Warn: also failures that it recovered
    /// from. Info: also important events. Debug: also each decision. Trace: also each step. No level logs a token, a
    /// code or a key.
    #[serde(default)]
    pub log_level: LogLevel,
}

/// How much a container logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum LogLevel {
    /// Failures that an administrator must act on.
    Error,

    /// Also failures that the container recovered from.
    Warn,

    /// Also important events.
    #[default]
    Info,

    /// Also each decision.
    Debug,

    /// Also each step.
    Trace,
}

impl LogLevel {
    /// The level as the containers read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::Warn => "Warn",
            Self::Info => "Info",
            Self::Debug => "Debug",
            Self::Trace => "Trace",
        }
    }
}
