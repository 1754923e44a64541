//! Standard input and output. Each line of input is checked before the MCP library parses it.

use behalf_contract::RequestId;
use behalf_contract::json::JsonError;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
    DuplexStream,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::hop::{MAX_BODY_BYTES, Message, MessageError, json_rpc_error};

/// Maximum number of refusals that wait until they are written. Beyond it no further line is read.
const MAX_REFUSALS: usize = 16;

/// The two ends that the MCP library uses instead of standard input and output.
pub(crate) struct CheckedStdio {
    pub(crate) input: DuplexStream,
    pub(crate) output: DuplexStream,
    /// Ends when the library has closed `output` and every line of it is written.
    pub(crate) written: JoinHandle<()>,
}

/// The outcome of the check of one line of input.
enum Line {
    /// The library reads this message.
    Message(Message),
    /// The client gets this error.
    Refused(String),
    /// The line is not JSON. It gets no answer, as in the library.
    Ignored,
}

/// Checks the lines of `input` as the HTTP modes check bodies ([`Message::read`]), and answers refused lines on
/// `output`. Unchecked JSON may be nested so deeply that it overflows the stack of the MCP library, and a prompt can
/// make an honest client send it.
pub(crate) fn check(
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> CheckedStdio {
    let (library_input, checked) = tokio::io::duplex(MAX_BODY_BYTES);
    let (library_output, answers) = tokio::io::duplex(MAX_BODY_BYTES);
    let (refusals, refused) = mpsc::channel(MAX_REFUSALS);
    tokio::spawn(read_lines(input, checked, refusals));
    CheckedStdio {
        input: library_input,
        output: library_output,
        written: tokio::spawn(write_lines(output, answers, refused)),
    }
}

async fn read_lines(
    input: impl AsyncRead + Send + Unpin,
    mut checked: DuplexStream,
    refusals: mpsc::Sender<String>,
) {
    let mut input = BufReader::new(input).take(0);
    let mut line = Vec::new();
    let mut is_rest = false;
    loop {
        line.clear();
        input.set_limit(MAX_BODY_BYTES as u64);
        if let Err(error) = input.read_until(b'\n', &mut line).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Unable to read further input: {error}"
            );
            return;
        }
        let is_end = line.ends_with(b"\n");
        if !is_end && input.limit() > 0 {
            return; // The client closed its side. An incomplete line is not a message.
        }
        // The first part of a line that is too long is refused, the other parts are skipped.
        let skip = std::mem::replace(&mut is_rest, !is_end);
        if skip {
            continue;
        }
        let is_sent = match if is_end { check_line(&line) } else { too_long() } {
            Line::Message(message) => {
                checked.write_all(&message.bytes).await.is_ok() && checked.write_all(b"\n").await.is_ok()
            }
            Line::Refused(error) => refusals.send(error).await.is_ok(),
            Line::Ignored => true,
        };
        if !is_sent {
            return; // The session has ended.
        }
    }
}

fn check_line(line: &[u8]) -> Line {
    // The library strips a byte order mark, too.
    let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    match Message::read(text) {
        Ok(message) => Line::Message(message),
        Err(MessageError::Json(JsonError::NotJson)) => Line::Ignored,
        Err(error) => {
            let id = RequestId::of_refused(text);
            Line::Refused(json_rpc_error(error.code(), &error.to_string(), id.as_ref()).to_string())
        }
    }
}

fn too_long() -> Line {
    let message = format!("the message is larger than {MAX_BODY_BYTES} bytes");
    Line::Refused(json_rpc_error(-32600, &message, None).to_string())
}

/// Writes the lines of `answers` and `refusals`, each completely before the next one.
async fn write_lines(
    mut output: impl AsyncWrite + Send + Unpin,
    answers: DuplexStream,
    mut refusals: mpsc::Receiver<String>,
) {
    let mut answers = BufReader::new(answers).lines();
    loop {
        let line = tokio::select! {
            Some(refusal) = refusals.recv() => refusal,
            answer = answers.next_line() => match answer {
                Ok(Some(answer)) => answer,
                // The session has ended. Refusals may still wait.
                _ => match refusals.try_recv() {
                    Ok(refusal) => refusal,
                    Err(_) => return,
                },
            },
        };
        let written = async {
            output.write_all(line.as_bytes()).await?;
            output.write_all(b"\n").await?;
            output.flush().await
        };
        if let Err(error) = written.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Unable to write further output: {error}"
            );
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Returns the lines that the library reads, and the lines that the client reads.
    async fn exchange(input: String) -> (String, Vec<Value>) {
        let (mut client, output) = tokio::io::duplex(MAX_BODY_BYTES);
        let mut stdio = check(std::io::Cursor::new(input.into_bytes()), output);
        let mut messages = String::new();
        stdio.input.read_to_string(&mut messages).await.unwrap();
        drop(stdio.output);
        stdio.written.await.unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        let answers = answers
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (messages, answers)
    }

    #[tokio::test]
    async fn passes_messages_on_and_ignores_lines_that_are_not_json() {
        let ping = r#"{"id":1,"jsonrpc":"2.0","method":"ping"}"#;
        let input = format!("{ping}\r\n\nno JSON\n\u{feff}{ping}\n{ping}");
        let (messages, answers) = exchange(input).await;
        assert_eq!(messages, format!("{ping}\n{ping}\n"));
        assert!(answers.is_empty(), "{answers:?}");
    }

    #[tokio::test]
    async fn refuses_a_line_with_the_id_of_its_request() {
        let hidden = r#"{"$serde_json::private::RawValue":"1"}"#;
        let deep = "[".repeat(200) + &"]".repeat(200);
        for (line, code, id) in [
            (hidden.to_owned(), -32600, None),
            (format!("\u{feff}\u{feff}{hidden}"), 0, None),
            (
                format!(r#"{{"jsonrpc":"2.0","id":7,"method":"ping","params":{hidden}}}"#),
                -32600,
                Some(json!(7)),
            ),
            (
                format!("\u{feff}{{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"ping\",\"params\":{deep}}}"),
                -32600,
                Some(json!("a")),
            ),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":5}"#.to_owned(),
                -32600,
                Some(json!(7)),
            ),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":[]}"#.to_owned(),
                -32602,
                Some(json!(7)),
            ),
            (format!("\"{}\"", "x".repeat(2 * MAX_BODY_BYTES)), -32600, None),
        ] {
            let (messages, answers) = exchange(line.clone() + "\n").await;
            assert_eq!(messages, "", "{line:.100}");
            if code == 0 {
                assert!(answers.is_empty(), "a second mark is not JSON: {answers:?}");
                continue;
            }
            assert_eq!(answers.len(), 1, "{line:.100}");
            assert_eq!(answers[0]["error"]["code"], code, "{line:.100}");
            assert_eq!(answers[0].get("id"), id.as_ref(), "{line:.100}");
        }
    }
}
