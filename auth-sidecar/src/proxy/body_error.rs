//! Why the proxy refuses the body of a POST.

use behalf_contract::json;

use super::members;

/// Why a body is refused. The client must correct it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// Parse error of JSON-RPC 2.0.
    #[error("the body is not JSON")]
    NotJson,

    /// MCP 2025-06-18 removed batches, and servers refuse them.
    #[error("batches are not part of MCP; send one message per request")]
    Batch,

    /// Invalid request of JSON-RPC 2.0.
    #[error(
        "the body is not one JSON-RPC object of Unicode text with at most {} members",
        members::MAX_MEMBERS
    )]
    NotAnObject,

    /// Different parsers use different values of a repeated member.
    #[error("the message has a member twice, or with another case")]
    Ambiguous,

    /// A parser that treats this key specially would read another message.
    #[error("{}", json::JsonError::ReservedKey)]
    ReservedKey,

    /// MCP allows a string or an integer, but no `null`.
    #[error("the id must be an integer or a string of at most 256 bytes; a notification has none")]
    Id,

    /// Invalid params of JSON-RPC 2.0. A key that cannot be decoded cannot be checked, so it is refused.
    #[error(
        "params and params.arguments of tools/call must be objects of Unicode text with at most {} members, \
         params.name and params.uri strings",
        members::MAX_MEMBERS
    )]
    Params,
}

impl BodyError {
    /// Returns the error code of JSON-RPC 2.0, section 5.1.
    pub(super) fn code(self) -> i32 {
        match self {
            Self::NotJson => -32700,
            Self::Batch | Self::NotAnObject | Self::Ambiguous | Self::ReservedKey | Self::Id => -32600,
            Self::Params => -32602,
        }
    }
}
