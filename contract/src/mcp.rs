//! The words of the Model Context Protocol that several parts need.

/// The first revision of MCP without `initialize` and without sessions of the server. In it, an unknown method is 404.
pub const FIRST_STATELESS_REVISION: &str = "2026-07-28";

/// Header with the revision of a request, since revision 2025-06-18.
pub const PROTOCOL_VERSION_HEADER: &str = "mcp-protocol-version";

/// Header with the id of a session that a stateful server keeps for a client, until revision 2025-11-25.
pub const SESSION_ID_HEADER: &str = "mcp-session-id";

/// Header that repeats the method of the message, since [`FIRST_STATELESS_REVISION`].
pub const METHOD_HEADER: &str = "mcp-method";

/// Header that repeats the name of the tool, prompt or resource, since [`FIRST_STATELESS_REVISION`].
pub const NAME_HEADER: &str = "mcp-name";

/// The method that calls a tool.
pub const TOOLS_CALL: &str = "tools/call";

/// The reserved argument of [`TOOLS_CALL`] that carries the user's token with
/// [`crate::Injection::Argument`]. It is in no tool schema, log or trace.
pub const BEARER_ARGUMENT: &str = "bearerToken";

/// Returns true for a value of [`PROTOCOL_VERSION_HEADER`] without `initialize` and sessions. Revisions are dates, so their text
/// order is their order in time.
pub fn is_stateless(version: &[u8]) -> bool {
    version >= FIRST_STATELESS_REVISION.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_since_2026_07_28_are_stateless() {
        for (version, expected) in [
            ("2026-07-28", true),
            ("2027-01-01", true),
            ("2025-11-25", false),
            ("", false),
        ] {
            assert_eq!(is_stateless(version.as_bytes()), expected, "{version}");
        }
    }
}
