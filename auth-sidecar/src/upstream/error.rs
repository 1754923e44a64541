//! Why the MCP server did not answer.

use std::io;

/// Why the server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No process listens on the server's port, or it accepts no connection.
    #[error("failed to connect to the MCP server")]
    Connect(#[source] io::Error),

    /// The connection broke, or the server's answer is not HTTP.
    #[error("the MCP server did not answer")]
    Broken(#[from] hyper::Error),
}
