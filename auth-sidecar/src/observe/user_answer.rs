//! Finds out whether the server answered a user's request with a result, while the status waits for that.
//!
//! A server that refuses the handshake without a user is verified by such an answer only: 202 for a notification, an error
//! and a page of a proxy say nothing about what the server can do.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::Response;
use behalf_contract::RequestId;
use behalf_runtime::has_media_type;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::OwnedSemaphorePermit;

use super::ProbeResults;
use super::sse::EventReader;

/// Maximum number of bytes that are kept of one answer, or since the last event of a stream. The answers to `initialize` and
/// `tools/list`, with which clients begin, are usually smaller. A larger answer verifies nothing.
const MAX_BYTES: usize = 64 * 1024;

/// Returns `answer` and reports the result of request `id` to `probe_results`. A result in several parts is collected, for a limited
/// number of answers at a time, so that stalled calls do not use up all the memory.
pub(crate) fn watch(
    answer: Response<Body>,
    id: &RequestId,
    probe_results: &Arc<ProbeResults>,
) -> Response<Body> {
    if !answer.status().is_success() {
        return answer;
    }
    let reader = if has_media_type(answer.headers(), "application/json") {
        Reader::Json(Vec::new())
    } else if has_media_type(answer.headers(), "text/event-stream") {
        Reader::Events(EventReader::default())
    } else {
        return answer;
    };
    answer.map(|body| {
        Body::new(Watched {
            body,
            search: Some(Search {
                id: id.clone(),
                reader,
                probe_results: Arc::clone(probe_results),
                permit: None,
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
    probe_results: Arc<ProbeResults>,
    /// Permits to keep bytes in the reader.
    permit: Option<OwnedSemaphorePermit>,
}

enum Reader {
    /// The JSON so far.
    Json(Vec<u8>),
    Events(EventReader),
}

impl Reader {
    /// Number of bytes that are kept.
    fn size(&self) -> usize {
        match self {
            Self::Json(kept) => kept.len(),
            Self::Events(events) => events.size(),
        }
    }
}

impl Search {
    /// Reads the next bytes. Returns false when the search has ended.
    fn read(&mut self, bytes: &[u8]) -> bool {
        if self.reader.size() + bytes.len() > MAX_BYTES {
            return false;
        }
        let is_found = match &mut self.reader {
            Reader::Json(kept) if kept.is_empty() && is_result(bytes, &self.id) => true,
            Reader::Json(kept) => {
                kept.extend_from_slice(bytes);
                false
            }
            Reader::Events(events) => {
                let events = events.push(bytes);
                events.iter().any(|event| is_result(event.as_bytes(), &self.id))
            }
        };
        if is_found {
            self.probe_results.user_answered();
            return false;
        }
        if self.reader.size() == 0 {
            self.permit = None;
        } else if self.permit.is_none() {
            self.permit = self.probe_results.watch_answer();
            return self.permit.is_some();
        }
        true
    }

    /// Reads the end of the answer.
    fn end(self) {
        if let Reader::Json(kept) = &self.reader
            && is_result(kept, &self.id)
        {
            self.probe_results.user_answered();
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
    use std::convert::Infallible;

    use axum::http::header::CONTENT_TYPE;
    use futures::{FutureExt as _, StreamExt as _, stream};
    use http_body_util::BodyExt as _;
    use jiff::Timestamp;
    use rstest::rstest;

    use super::*;
    use crate::observe::{HandshakeError, handshake};

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

    fn awaiting_a_user() -> Arc<ProbeResults> {
        let probe_results = Arc::<ProbeResults>::default();
        let refused = Err(HandshakeError::AuthRequired { method: "initialize" });
        probe_results.publish_handshake(handshake::report(&refused, false, Timestamp::UNIX_EPOCH));
        assert!(probe_results.awaits_user());
        probe_results
    }

    /// An answer to the request 7 in these parts. It then hangs, or ends.
    fn answer(kind: &'static str, parts: &[&'static str], hangs: bool) -> Response<Body> {
        let parts = parts.iter().map(|part| Ok::<_, Infallible>(Bytes::from(*part)));
        let parts = stream::iter(parts.collect::<Vec<_>>());
        let body = if hangs {
            Body::from_stream(parts.chain(stream::pending()))
        } else {
            Body::from_stream(parts)
        };
        Response::builder().header(CONTENT_TYPE, kind).body(body).unwrap()
    }

    async fn is_found(probe_results: &Arc<ProbeResults>, kind: &'static str, parts: &[&'static str]) -> bool {
        let watched = watch(answer(kind, parts, false), &RequestId::Integer(7), probe_results);
        watched.into_body().collect().await.unwrap();
        !probe_results.awaits_user()
    }

    const JSON: &str = "application/json";
    const EVENTS: &str = "text/event-stream";

    #[rstest]
    #[case(JSON, &[r#"{"id":7,"result":{}}"#])]
    #[case(JSON, &[r#"{"id":7,"#, r#""result":{}}"#])]
    #[case(EVENTS, &["data: {\"id\":7,\"result\":{}}\n\n"])]
    #[case(EVENTS, &["data: \n\n", "data: {\"id\":7,", "\"result\":{}}\n\n"])]
    #[tokio::test]
    async fn a_result_is_found_in_one_part_and_in_several(
        #[case] kind: &'static str,
        #[case] parts: &[&'static str],
    ) {
        assert!(is_found(&awaiting_a_user(), kind, parts).await);
    }

    #[rstest]
    #[case(JSON, r#"{"id":7,"#, r#"{"id":7,"result":{}}"#)]
    #[case(EVENTS, "data: {", "data: {\"id\":7,\"result\":{}}\n\n")]
    #[tokio::test]
    async fn answers_that_hang_keep_no_other_one_from_being_found(
        #[case] kind: &'static str,
        #[case] begin: &'static str,
        #[case] whole: &'static str,
    ) {
        let probe_results = awaiting_a_user();
        let mut hanging = Vec::new();
        for number in 0..100 {
            let begun = [begin];
            let watched = watch(
                answer(kind, &begun[..number % 2], true),
                &RequestId::Integer(7),
                &probe_results,
            );
            let mut body = watched.into_body();
            while body.frame().now_or_never().is_some() {}
            hanging.push(body);
        }
        assert!(
            probe_results.watch_answer().is_none(),
            "all places for bytes are taken"
        );
        assert!(is_found(&probe_results, kind, &[whole]).await);
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
