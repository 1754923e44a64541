//! Why a handshake with the MCP server did not succeed.

use std::time::Duration;

use behalf_contract::Reason;
use http::StatusCode;

/// Maximum time of one handshake. Clients do not wait longer for a list of tools either.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// Why the handshake did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The port refuses connections, or the connection broke.
    #[error("the server does not answer on its port")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),

    /// The handshake took longer than [`LIMIT`].
    #[error("the server did not finish the handshake within {} s", LIMIT.as_secs())]
    TimedOut,

    /// The server requires a user's token even for the handshake.
    #[error("the server answers {method} only with a user's token (HTTP 401)")]
    AuthRequired {
        /// The JSON-RPC method that the server refused.
        method: &'static str,
    },

    /// The server answered with an HTTP status other than success.
    #[error("the server answered {method} with HTTP {status}")]
    Status {
        /// The JSON-RPC method of the request.
        method: &'static str,

        /// The HTTP status of the answer.
        status: StatusCode,
    },

    /// The server answered with a JSON-RPC error.
    #[error("the server refused {method} with the JSON-RPC error {code}")]
    Refused {
        /// The JSON-RPC method of the request.
        method: &'static str,

        /// The code of the JSON-RPC error.
        code: i64,
    },

    /// The answer violates MCP.
    #[error("the server's answer to {method} is not MCP: {problem}")]
    Malformed {
        /// The JSON-RPC method of the request.
        method: &'static str,

        /// The violated rule, as the rest of the message.
        problem: &'static str,
    },
}

impl HandshakeError {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Unreachable(_) => Reason::ServerUnreachable,
            Self::TimedOut => Reason::ServerTimedOut,
            Self::AuthRequired { .. } => Reason::AuthRequired,
            Self::Status { .. } | Self::Refused { .. } => Reason::ServerError,
            Self::Malformed { .. } => Reason::NotMcp,
        }
    }

    pub(super) fn fix(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => {
                "read the log of the server's container; a container of your own must listen on the port of \
                 spec.server.container.port"
            }
            Self::TimedOut => "read the log of the server's container and its resource limits",
            Self::AuthRequired { .. } => {
                "this is no error if the server always requires a user; the first user's call verifies it"
            }
            Self::Status { .. } | Self::Malformed { .. } => {
                "a container of your own must serve MCP over Streamable HTTP at spec.server.container.path"
            }
            Self::Refused { .. } => "read the log of the server's container",
        }
    }
}
