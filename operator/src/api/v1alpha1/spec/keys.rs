//! The keys that seal sessions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DurationText;
use super::duration::duration_rule;
use crate::api::v1alpha1::schema::{key_rule, name_rule, rule};

/// The keys that seal sessions and ids of registered clients.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "has(self.secret) == (self.type == 'Secret')",
        "keys.secret must be set with type Secret, and only then"
    ),
    rule(
        "!has(self.managed) || self.type == 'Managed'",
        "keys.managed must be set with type Managed only"
    ),
]))]
pub struct Keys {
    /// Where the keys come from. Managed (default): the operator makes them, keeps them in the Secret <name>-keyring and
    /// rotates them. Secret: another tool delivers them in a Secret, for example External Secrets from a key vault. The
    /// operator neither reads nor writes that Secret.
    #[serde(rename = "type", default)]
    pub kind: KeysType,

    /// Settings of keys that the operator manages. Set it with type Managed only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedKeys>,

    /// The Secret with the keys. Set it with type Secret, and only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretKeys>,
}

impl Keys {
    /// Returns the age of the sealing key at which its rotation begins.
    pub fn rotation_interval(&self) -> DurationText {
        let managed = self.managed.clone().unwrap_or_default();
        managed.rotation_interval
    }
}

/// Where the keys come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum KeysType {
    /// The operator makes and rotates them.
    #[default]
    Managed,

    /// Another tool delivers them in a Secret.
    Secret,
}

/// Settings of keys that the operator manages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    duration_rule(
        &["rotationInterval"],
        "duration(self.rotationInterval) >= duration('168h') && duration(self.rotationInterval) <= duration('8784h')",
        "keys.managed.rotationInterval must be between 168h (7 days) and 8784h (366 days)"
    ),
]))]
pub struct ManagedKeys {
    /// Age of the sealing key at which its rotation begins, from 168h (7 days) to 8784h (366 days), by default 720h, for example
    /// 2160h. A rotation ends no session. To begin one earlier, annotate the McpServer with behalf.dev/rotate-keys and a text that differs from status.keys.lastRequest.
    pub rotation_interval: DurationText,
}

impl Default for ManagedKeys {
    fn default() -> Self {
        Self {
            rotation_interval: DurationText::new("720h"),
        }
    }
}

/// Keys that another tool delivers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeys {
    /// The Secret, in the namespace of this object. The Pods read it again when it changes.
    pub secret_ref: KeyringSecretRef,
}

/// The end of the name of each Secret that an object may name as its keyring. With this name the author of the Secret agrees
/// to that. No keyring that the operator makes has such a name: these end in -keyring.
pub const KEYS_SUFFIX: &str = "behalf-keys";

/// A Secret with a keyring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyringSecretRef {
    /// Name of the Secret, at most 253 characters. It must end in behalf-keys, for example azure-devops-behalf-keys: with this name the author of the
    /// Secret allows everybody who may write McpServers of the namespace to use it.
    #[schemars(
        length(min = 1, max = 253),
        extend("x-kubernetes-validations" = [name_rule(), rule(
            "self.endsWith('behalf-keys')",
            "the name of the Secret in keys.secret must end in behalf-keys"
        )])
    )]
    pub name: String,

    /// The key of the Secret that contains the keyring, a JSON text: docs/keys.md describes it. At most 253 characters, by
    /// default keyring.json.
    #[serde(default = "keyring_key")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [key_rule("keyring.json")]))]
    pub key: String,
}

fn keyring_key() -> String {
    "keyring.json".to_owned()
}
