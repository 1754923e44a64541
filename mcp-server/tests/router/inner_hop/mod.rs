//! Tests every rule of the layer in front of the MCP server.

mod capacity;
mod embedded_json;
mod host_key;
mod messages;
mod tokens;

use serde_json::json;

use crate::support::Ask;

/// A tool call without a token.
fn a_call() -> Ask {
    Ask::tool("list_pipeline_runs", json!({"top": 1}))
}
