//! Streams the server's answer to the client until the session ends.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::user_limits::Slot;

/// Why an answer is cut off.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    /// The connection to the server broke.
    #[error("the MCP server broke off its answer")]
    Server(#[source] hyper::Error),

    /// The session was revoked, expired, or ended for another reason.
    #[error("the session has ended")]
    Ended,
}

struct Passed<B> {
    body: B,
    end: BoxFuture<'static, ()>,
    is_event_stream: bool,
    /// The user's slot for this request. It is released when the answer has ended.
    _slot: Slot,
}

/// Forwards `body` until `end` completes. An event stream then ends without an error: it may end at any time, and
/// clients reopen it. Every other answer ends with an error, so that the client does not use a part of it as the whole.
pub(super) fn until<B>(
    body: B,
    end: impl Future<Output = ()> + Send + 'static,
    is_event_stream: bool,
    slot: Slot,
) -> Body
where
    B: HttpBody<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    Body::new(Passed {
        body,
        end: end.boxed(),
        is_event_stream,
        _slot: slot,
    })
}

impl<B: HttpBody<Data = Bytes, Error = hyper::Error> + Unpin> HttpBody for Passed<B> {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if self.end.as_mut().poll(context).is_ready() {
            let end = (!self.is_event_stream).then_some(Err(StreamError::Ended));
            return Poll::Ready(end);
        }
        Pin::new(&mut self.body)
            .poll_frame(context)
            .map_err(StreamError::Server)
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
    use std::sync::Arc;
    use std::time::Duration;

    use axum::http::Method;
    use behalf_entra::UserIdentity;
    use futures::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::super::user_limits::Users;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_event_stream_ends_and_another_answer_breaks_off_at_the_end_of_the_session() {
        const HOUR: Duration = Duration::from_hours(1);
        let ana = Users::default().get(&Arc::new(UserIdentity {
            tid: "contoso".to_owned(),
            oid: "ana".to_owned(),
        }));
        for is_event_stream in [true, false] {
            let began = tokio::time::Instant::now();
            let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, hyper::Error>>());
            let slot = ana.acquire_other(&Method::GET).unwrap();
            let mut body = until(body, tokio::time::sleep(HOUR), is_event_stream, slot);
            let end = body.frame().await;
            assert_eq!(began.elapsed(), HOUR);
            assert_eq!(end.is_none(), is_event_stream, "{end:?}");
        }
    }
}
