//! The server's answer on its way to the client, for as long as the session lives.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::users::Call;

/// Why an answer does not come to its end.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    /// The connection to the server.
    #[error("the MCP server broke off its answer")]
    Server(#[source] hyper::Error),

    /// Revoked, or ended by its user's other doings.
    #[error("the session has ended")]
    Ended,
}

struct Passed<B> {
    body: B,
    end: BoxFuture<'static, ()>,
    is_event_stream: bool,
    /// Under way until the answer has come to its end.
    _call: Option<Call>,
}

/// Passes `body` on until `end` comes. Then a stream of events just ends, as it may at any time and clients know
/// how to go on; any other answer breaks off, so that a part of it is not taken for all.
pub(super) fn until<B>(
    body: B,
    end: impl Future<Output = ()> + Send + 'static,
    is_event_stream: bool,
    call: Option<Call>,
) -> Body
where
    B: HttpBody<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    Body::new(Passed {
        body,
        end: end.boxed(),
        is_event_stream,
        _call: call,
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
    use std::time::Duration;

    use futures::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_when_its_time_is_over() {
        const HOUR: Duration = Duration::from_hours(1);
        for is_event_stream in [true, false] {
            let began = tokio::time::Instant::now();
            let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, hyper::Error>>());
            let mut body = until(body, tokio::time::sleep(HOUR), is_event_stream, None);
            let end = body.frame().await;
            assert_eq!(began.elapsed(), HOUR);
            assert_eq!(end.is_none(), is_event_stream, "{end:?}");
        }
    }
}
