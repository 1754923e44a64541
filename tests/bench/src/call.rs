//! The call that is measured: a tool call of 1 KiB.

use bytes::Bytes;

/// Size of the message, and of the answer's body, in bytes.
pub(crate) const SIZE: usize = 1024;

/// The tool of the call. The sidecar's configuration lists it as one that only reads.
pub(crate) const TOOL: &str = "list";

/// The tool with an answer of [`LARGE_SIZE`].
pub(crate) const LARGE_TOOL: &str = "export";

/// Size of a large answer's body, in bytes.
pub(crate) const LARGE_SIZE: usize = 1024 * 1024;

/// A request for a stream of the server's notifications.
pub(crate) fn stream(host: &str, token: &str) -> Bytes {
    Bytes::from(format!(
        "GET /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\
         MCP-Protocol-Version: 2025-11-25\r\n\r\n"
    ))
}

/// A whole request as an MCP client sends it.
pub(crate) fn request(host: &str, token: &str) -> Bytes {
    call_of(TOOL, host, token)
}

/// As [`request`], for an answer of [`LARGE_SIZE`].
pub(crate) fn large_request(host: &str, token: &str) -> Bytes {
    call_of(LARGE_TOOL, host, token)
}

/// True if the message of a request calls [`LARGE_TOOL`]. The name is near the beginning.
pub(crate) fn is_large(body: &[u8]) -> bool {
    let mut parts = body.windows(LARGE_TOOL.len()).take(128);
    parts.any(|part| part == LARGE_TOOL.as_bytes())
}

fn call_of(tool: &str, host: &str, token: &str) -> Bytes {
    let frame = |text: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"text":"{text}"}}}}}}"#
        )
    };
    let body = frame(&"x".repeat(SIZE - frame("").len()));
    let length = body.len();
    Bytes::from(format!(
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    ))
}
