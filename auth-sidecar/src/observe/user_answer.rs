//! Finds out whether the server answered a user's request with a result, while the status waits for that.
//!
//! A server that refuses the handshake without a user is verified by such an answer only: 202 for a notification, an error
//! and a page of a proxy say nothing about what the server can do.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::Response;
use axum::http::header::CONTENT_TYPE;
use behalf_contract::RequestId;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::OwnedSemaphorePermit;

use super::StatusBoard;
use super::sse::EventReader;

/// Maximum number of bytes that are kept of one answer, or since the last event of a stream. The answers to `initialize` and
/// `tools/list`, with which clients begin, are usually smaller. A larger answer verifies nothing.
const MAX_BYTES: usize = 64 * 1024;

/// Returns `answer`, which tells `board` when it contains the result of the request `id`. Does nothing beyond the board's
/// limit of watched answers.
pub(crate) fn watch(answer: Response<Body>, id: &RequestId, board: &Arc<StatusBoard>) -> Response<Body> {
    if !answer.status().is_success() {
        return answer;
    }
    let media_type = answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next());
    let reader = match media_type.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        Some("application/json") => Reader::Json,
        Some("text/event-stream") => Reader::Events(EventReader::default()),
        _ => return answer,
    };
    let Some(permit) = board.watch_answer() else {
        return answer;
    };
    answer.map(|body| {
        Body::new(Watched {
            body,
            search: Some(Search {
                id: id.clone(),
                reader,
                kept: Vec::new(),
                board: Arc::clone(board),
                _permit: permit,
            }),
        })
    })
}

/// A body that is searched for a result while it is forwarded.
struct Watched {
    body: Body,
    /// `None` once the search has ended.
    search: Option<Search>,
}

struct Search {
    id: RequestId,
    reader: Reader,
    /// The JSON so far, or for a stream the bytes since its last event.
    kept: Vec<u8>,
    board: Arc<StatusBoard>,
    _permit: OwnedSemaphorePermit,
}

enum Reader {
    Json,
    Events(EventReader),
}

impl Search {
    /// Reads the next bytes. Returns false when the search has ended.
    fn read(&mut self, bytes: &[u8]) -> bool {
        if self.kept.len() + bytes.len() > MAX_BYTES {
            return false;
        }
        self.kept.extend_from_slice(bytes);
        let Reader::Events(events) = &mut self.reader else {
            return true;
        };
        let events = events.push(bytes);
        if events.is_empty() {
            return true;
        }
        self.kept.clear();
        let id = &self.id;
        let is_found = events.iter().any(|event| is_result(event.as_bytes(), id));
        if is_found {
            self.board.user_answered();
        }
        !is_found
    }

    /// Reads the end of the answer.
    fn end(self) {
        if matches!(self.reader, Reader::Json) && is_result(&self.kept, &self.id) {
            self.board.user_answered();
        }
    }
}

/// True for a JSON-RPC response with this id and a result.
fn is_result(text: &[u8], id: &RequestId) -> bool {
    #[derive(Deserialize)]
    struct Reply {
        id: RequestId,
        result: IgnoredAny,
    }
    let reply: Result<Reply, _> = serde_json::from_slice(text);
    reply.is_ok_and(
        |Reply {
             id: answered,
             result: IgnoredAny,
         }| answered == *id,
    )
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
                if self.search.as_mut().is_some_and(|search| !search.read(bytes)) {
                    self.search = None;
                }
                // A body of known length may be polled no more.
                if self.body.is_end_stream()
                    && let Some(search) = self.search.take()
                {
                    search.end();
                }
            }
            Poll::Ready(None) => {
                if let Some(search) = self.search.take() {
                    search.end();
                }
            }
            // An answer that was broken off is no result.
            Poll::Ready(Some(Err(_))) => self.search = None,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[]}}"#, true)]
    #[case(r#"{"result":{},"id":7}"#, true)]
    #[case(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"x"}}"#, false)]
    #[case(r#"{"jsonrpc":"2.0","id":8,"result":{}}"#, false)]
    #[case(r#"{"jsonrpc":"2.0","id":"7","result":{}}"#, false)]
    #[case(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#, false)]
    #[case(r#"{"jsonrpc":"2.0","id":7,"result":{}"#, false)]
    #[case("", false)]
    fn only_a_response_with_the_id_and_a_result_is_one(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(is_result(text.as_bytes(), &RequestId::Integer(7)), expected);
    }

    #[test]
    fn deep_json_is_read_without_recursion() {
        let deep = format!(
            r#"{{"id":7,"result":{}1{}}}"#,
            "[".repeat(30_000),
            "]".repeat(30_000)
        );
        // Only its end matters: the reader neither overflows the stack nor crashes.
        is_result(deep.as_bytes(), &RequestId::Integer(7));
    }
}
