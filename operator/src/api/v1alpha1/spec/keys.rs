//! The keys that seal sessions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DurationText;
use crate::api::v1alpha1::schema::rule;

/// The keys that seal sessions and ids of registered clients.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Keys {
    /// Where the keys come from. Managed (default): the operator makes them, keeps them in the Secret <name>-keyring and
    /// rotates them.
    #[serde(rename = "type")]
    pub kind: KeysType,

    /// Settings of keys that the operator manages.
    pub managed: ManagedKeys,
}

/// Where the keys come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum KeysType {
    /// The operator makes and rotates them.
    #[default]
    Managed,
}

/// Settings of keys that the operator manages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "duration(self.rotationInterval) >= duration('168h') && duration(self.rotationInterval) <= duration('8784h')",
        "keys.managed.rotationInterval must be between 168h (7 days) and 8784h (366 days)"
    ),
]))]
pub struct ManagedKeys {
    /// Age of the sealing key at which its rotation begins. A rotation ends no session. To begin one earlier, annotate
    /// the McpServer with behalf.dev/rotate-keys and a text that differs from status.keys.lastRequest.
    pub rotation_interval: DurationText,
}

impl Default for ManagedKeys {
    fn default() -> Self {
        Self {
            rotation_interval: DurationText::new("720h"),
        }
    }
}
