//! Streams the server's answer to the client until the session ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::user_limits::Slot;
use crate::sessions::SessionEnd;

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

struct ForwardedBody<B> {
    body: B,
    end: SessionEnd,
    /// Wakes the task at the end of the session. `None` as long as the server's answer is there whenever it is read: most calls
    /// have answers of one part.
    wait: Option<BoxFuture<'static, ()>>,
    is_event_stream: bool,
    /// The user's slot for this request. It is released when the answer has ended.
    _slot: Slot,
}

/// Forwards `body` until `end` comes. An event stream then ends without an error: it may end at any time, and
/// clients reopen it. Every other answer ends with an error, so that the client does not use a part of it as the whole.
pub(super) fn end_with_session<B>(body: B, end: SessionEnd, is_event_stream: bool, slot: Slot) -> Body
where
    B: HttpBody<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    Body::new(ForwardedBody {
        body,
        end,
        wait: None,
        is_event_stream,
        _slot: slot,
    })
}

impl<B: HttpBody<Data = Bytes, Error = hyper::Error> + Unpin> HttpBody for ForwardedBody<B> {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = &mut *self;
        let mut has_ended = this.end.is_reached();
        if !has_ended {
            let frame = Pin::new(&mut this.body).poll_frame(context);
            if frame.is_ready() {
                return frame.map_err(StreamError::Server);
            }
            let wait = this
                .wait
                .get_or_insert_with(|| this.end.clone().reached().boxed());
            has_ended = wait.as_mut().poll(context).is_ready();
        }
        if !has_ended {
            return Poll::Pending;
        }
        Poll::Ready((!this.is_event_stream).then_some(Err(StreamError::Ended)))
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
    use futures::stream::{self, Stream, StreamExt as _};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::super::user_limits::Users;
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn forwarded(
        frames: impl Stream<Item = Result<Frame<Bytes>, hyper::Error>> + Send + Unpin + 'static,
        is_event_stream: bool,
    ) -> Body {
        let ana = Users::default().get(&Arc::new(UserIdentity {
            tid: "contoso".to_owned(),
            oid: "ana".to_owned(),
        }));
        let slot = ana.acquire_other(&Method::GET).unwrap();
        end_with_session(
            StreamBody::new(frames),
            SessionEnd::after(HOUR),
            is_event_stream,
            slot,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_stream_ends_and_another_answer_breaks_off_at_the_end_of_the_session() {
        for is_event_stream in [true, false] {
            let began = tokio::time::Instant::now();
            let mut body = forwarded(stream::pending(), is_event_stream);
            let end = body.frame().await;
            assert_eq!(began.elapsed(), HOUR);
            assert_eq!(end.is_none(), is_event_stream, "{end:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_which_more_is_always_there_ends_at_the_end_of_the_session() {
        let frames = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(b"more"))));
        let mut body = forwarded(frames, false);
        assert!(body.frame().await.unwrap().is_ok());
        tokio::time::sleep(HOUR).await;
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_waits_after_its_first_part_ends_at_the_end_of_the_session() {
        let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"first")))]);
        let mut body = forwarded(first.chain(stream::pending()), false);
        let began = tokio::time::Instant::now();
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(began.elapsed(), HOUR);
    }
}
