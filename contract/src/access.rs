//! What users let MCP clients reach: the server's kind, and which of its tools write.

use serde::{Deserialize, Serialize};

/// The tools of the built-in server that change nothing: `mcp:read` is enough for them. The server's own
/// annotations say the same, and a test of it compares the two.
pub const AZURE_DEV_OPS_READ_ONLY_TOOLS: [&str; 3] =
    ["list_pipeline_runs", "get_run_failure_logs", "list_deployments"];

/// What the sidecar asks users for, and which scope a tool needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessConfig {
    /// What is behind the sidecar. The consent page says it.
    pub server: ServerKind,

    /// Tools for which the scope `mcp:read` is enough. Every other tool needs `mcp:run`.
    pub read_only_tools: Vec<String>,

    /// Whether the server has tools that write. Without them there is no scope `mcp:run`.
    pub writes: bool,
}

/// A kind of MCP server, with what a user knows it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ServerKind {
    /// The built-in server for Azure DevOps.
    AzureDevOps {
        /// The organization whose projects it reaches.
        organization: String,
    },
}
