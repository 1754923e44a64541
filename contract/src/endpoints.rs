//! Paths below `publicUrl` that several parts use.

/// The MCP endpoint. Its URL is also the OAuth resource.
pub const MCP: &str = "/mcp";

/// The MCP endpoint as some clients write it.
pub const MCP_WITH_SLASH: &str = "/mcp/";

/// The path to which Entra redirects the browser. The application registers it as redirect URI, platform Web.
pub const CALLBACK: &str = "/callback";
