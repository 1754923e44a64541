//! The server's answer on its way to the client, for as long as the session lives.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::sessions::{Lifeline, OpenSession};

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

struct Passed {
    body: Incoming,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    is_event_stream: bool,
    /// The session's end is heard of only while somebody holds on.
    _lifeline: Arc<Lifeline>,
}

/// Passes `body` on until the session ends. Then a stream of events just ends, as it may at any time and
/// clients know how to go on; any other answer breaks off, so that a part of it is not taken for all.
pub(super) fn while_session_lives(session: &OpenSession, body: Incoming, is_event_stream: bool) -> Body {
    let lifeline = session.lifeline();
    Body::new(Passed {
        body,
        ended: Box::pin(lifeline.ended_owned()),
        is_event_stream,
        _lifeline: lifeline,
    })
}

impl HttpBody for Passed {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if self.ended.as_mut().poll(context).is_ready() {
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
