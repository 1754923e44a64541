//! Standard input, checked before the MCP library parses it.

use behalf_contract::json::{self, JsonError};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream,
};

use crate::hop::{LARGEST_BODY, MOST_VALUES};

/// Replaces a refused line. The MCP library answers it as an invalid request.
const REFUSED: &[u8] = b"{}\n";

/// Returns the lines of `input` that [`json::parse`] accepts. Other JSON may be nested so deeply that it
/// overflows the stack of the MCP library, and a prompt can make an honest client send it. [`REFUSED`]
/// replaces such lines and lines longer than [`LARGEST_BODY`]. Lines that are not JSON are dropped, as in the
/// library.
pub(crate) fn checked(input: impl AsyncRead + Send + Unpin + 'static) -> DuplexStream {
    let (mut checked, reader) = tokio::io::duplex(LARGEST_BODY);
    tokio::spawn(async move {
        let mut input = BufReader::new(input).take(0);
        let mut line = Vec::new();
        let mut is_rest = false;
        loop {
            line.clear();
            input.set_limit(LARGEST_BODY as u64);
            if let Err(error) = input.read_until(b'\n', &mut line).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Unable to read on: {error}"
                );
                return;
            }
            let is_end = line.ends_with(b"\n");
            if !is_end && input.limit() > 0 {
                return; // The client closed its side; half a line is no message.
            }
            // The first part of a line that is too long is refused, the rest is skipped.
            let skip = std::mem::replace(&mut is_rest, !is_end);
            if skip {
                continue;
            }
            // The library strips a byte order mark, too.
            let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
            let line = match json::parse(text, MOST_VALUES) {
                Ok(_) if is_end => text,
                Err(JsonError::NotJson) if is_end => continue,
                _ => REFUSED,
            };
            if checked.write_all(line).await.is_err() {
                return; // The session has ended.
            }
        }
    });
    reader
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refused_lines_are_replaced_what_is_not_json_is_dropped_and_the_rest_stays_as_it_is() {
        let hidden = r#"{"a":{"$serde_json::private::RawValue":"1"}}"#;
        let deep = "[".repeat(200) + &"]".repeat(200);
        let long = format!("\"{}\"", "x".repeat(2 * LARGEST_BODY));
        let input = format!(
            "{{\"b\" : 1}}\r\n\nno JSON\n{hidden}\n\u{feff}{hidden}\n\u{feff}\u{feff}{hidden}\n{deep}\n{long}\n\u{feff}7\n{{\"half\":"
        );
        let mut text = String::new();
        checked(std::io::Cursor::new(input.into_bytes()))
            .read_to_string(&mut text)
            .await
            .unwrap();
        assert_eq!(text, "{\"b\" : 1}\r\n{}\n{}\n{}\n{}\n7\n");
    }
}
