//! Paths below the public origin that more than one part must agree on.

/// The MCP endpoint; its URL is also the OAuth resource.
pub const MCP: &str = "/mcp";

/// Where Entra sends the browser back to; the application registers it as redirect URI, platform Web.
pub const CALLBACK: &str = "/callback";
