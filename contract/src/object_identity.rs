//! Which `McpServer` a Pod belongs to.

use serde::{Deserialize, Serialize};

/// The `McpServer` that the configuration belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectIdentity {
    /// Namespace of the `McpServer`.
    pub namespace: String,

    /// Name of the `McpServer`.
    pub name: String,
}

impl ObjectIdentity {
    /// Returns `namespace/name`. Sealed texts are bound to it.
    pub fn qualified_name(&self) -> String {
        let Self { namespace, name } = self;
        format!("{namespace}/{name}")
    }
}
