//! The access that users grant to MCP clients: the server's kind, and which of its tools write.
//!
//! The tools of the built-in server are listed here as well: the operator derives scopes from the list, and the server offers
//! only tools of the list.

use serde::{Deserialize, Serialize};

/// A group of tools of the built-in server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Toolset {
    /// Pipelines, their runs and logs.
    Pipelines,

    /// Classic releases and their deployments.
    Releases,
}

/// A tool of the built-in server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltInTool {
    /// The name that clients call.
    pub name: &'static str,

    /// The group that the tool belongs to.
    pub toolset: Toolset,

    /// True if the tool changes nothing, so that `mcp:read` is enough for it. The server's annotations say the same, and a test
    /// of the server compares the two.
    pub reads_only: bool,
}

/// The tools of the built-in server, in the order of `tools/list`.
pub const BUILT_IN_TOOLS: [BuiltInTool; 4] = [
    BuiltInTool {
        name: "list_pipeline_runs",
        toolset: Toolset::Pipelines,
        reads_only: true,
    },
    BuiltInTool {
        name: "get_run_failure_logs",
        toolset: Toolset::Pipelines,
        reads_only: true,
    },
    BuiltInTool {
        name: "list_deployments",
        toolset: Toolset::Releases,
        reads_only: true,
    },
    BuiltInTool {
        name: "trigger_pipeline_run",
        toolset: Toolset::Pipelines,
        reads_only: false,
    },
];

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
