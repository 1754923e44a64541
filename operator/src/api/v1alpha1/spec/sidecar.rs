use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pod::requirements;
use crate::api::v1alpha1::schema::embedded;

/// The auth sidecar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// Its image. Absent: the one that belongs to the operator's release. It is of the same repository, with
    /// any tag or digest, or of another one that the installation allows (allowed.sidecarRepositories of the
    /// chart behalf).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[\x21-\x7e]+$"))]
    pub image: Option<String>,

    /// Resources of the sidecar's container.
    #[serde(default = "resources")]
    #[schemars(schema_with = "embedded::<ResourceRequirements>")]
    pub resources: ResourceRequirements,

    /// How much the sidecar logs. No level logs a token, code or key.
    #[serde(default)]
    pub log_level: LogLevel,
}

impl Default for Sidecar {
    fn default() -> Self {
        Self {
            image: None,
            resources: resources(),
            log_level: LogLevel::default(),
        }
    }
}

fn resources() -> ResourceRequirements {
    // docs/proxy.md sums up the budgets of the sidecar, which stay below this limit.
    requirements("50m", "32Mi", Some("1Gi"))
}

/// How much a container logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum LogLevel {
    /// Someone must act.
    Error,

    /// Also what recovered by itself.
    Warn,

    /// Also high-level events.
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
