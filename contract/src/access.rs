//! The access that users grant to MCP clients: the server's kind, and which of its tools write.

use serde::{Deserialize, Serialize};

/// The tools of the built-in server that change nothing. `mcp:read` is enough for them. The server's
/// annotations say the same, and a test of the server compares the two.
pub const AZURE_DEV_OPS_READ_ONLY_TOOLS: [&str; 3] =
    ["list_pipeline_runs", "get_run_failure_logs", "list_deployments"];

/// The access that the sidecar asks users for, and the scopes that tools need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessConfig {
    /// The kind of server behind the sidecar. The consent page shows it.
    pub server: ServerKind,

    /// Tools for which the scope `mcp:read` is enough. Every other tool needs `mcp:run`.
    pub read_only_tools: Vec<String>,

    /// Whether the server has tools that write. Without them there is no scope `mcp:run`.
    pub writes: bool,
}

/// A kind of MCP server, with the data that a user recognizes it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ServerKind {
    /// The built-in server for Azure DevOps.
    AzureDevOps {
        /// The organization whose projects the server reads.
        organization: String,
    },

    /// A server from an image of the object's author. A user recognizes it by the host of its address.
    Container,
}
