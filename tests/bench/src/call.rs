//! The call that is measured: a tool call of 1 KiB.

use bytes::Bytes;

/// Size of the message, and of the answer's body, in bytes.
pub(crate) const SIZE: usize = 1024;

/// The tool of the call. The sidecar's configuration lists it as one that only reads.
pub(crate) const TOOL: &str = "list";

/// The tools of the server with the sizes of their answers' bodies, in bytes, from the smallest to the largest.
pub(crate) const TOOLS: [(&str, usize); 4] = [
    (TOOL, SIZE),
    ("page", 16 * 1024),
    ("report", 256 * 1024),
    ("export", 1024 * 1024),
];

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

/// The tool that the message of a request calls, as an index into [`TOOLS`]. Its name is near the beginning.
pub(crate) fn called(body: &[u8]) -> Option<usize> {
    const BEFORE: &[u8] = b"\"name\":\"";
    let start = body
        .windows(BEFORE.len())
        .take(128)
        .position(|part| part == BEFORE)?
        + BEFORE.len();
    let rest = body.get(start..)?;
    TOOLS
        .iter()
        .position(|(tool, _)| rest.starts_with(tool.as_bytes()))
}

/// As [`request`], for the answer of another tool.
pub(crate) fn call_of(tool: &str, host: &str, token: &str) -> Bytes {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tool_of_each_request_is_found() {
        for (index, (tool, _)) in TOOLS.iter().enumerate() {
            let request = call_of(tool, "localhost", "token");
            let body = request.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
            assert_eq!(called(&request[body..]), Some(index));
        }
        assert_eq!(called(br#"{"params":{"name":"unknown"}}"#), None);
    }
}
