//! The body of the server's answer. Its reader drives the connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::connection::UpstreamConnection;
use super::pool::Pool;

/// The body of an answer. At its end its connection serves the next request. If it is dropped before its end, the connection
/// is closed, which tells the server that nobody waits.
pub struct AnswerBody {
    incoming: Incoming,
    connection: Option<Box<UpstreamConnection>>,
    pool: Pool,
}

impl AnswerBody {
    pub(super) fn new(incoming: Incoming, connection: Box<UpstreamConnection>, pool: Pool) -> Self {
        let mut body = Self {
            incoming,
            connection: Some(connection),
            pool,
        };
        body.release_at_end();
        body
    }

    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(connection) = self.connection.take()
        {
            self.pool.put(connection);
        }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut frame = Pin::new(&mut this.incoming).poll_frame(context);
        if frame.is_pending()
            && let Some(connection) = &mut this.connection
        {
            connection.drive(context);
            frame = Pin::new(&mut this.incoming).poll_frame(context);
        }
        match &frame {
            Poll::Ready(None) => {
                if let Some(connection) = this.connection.take() {
                    this.pool.put(connection);
                }
            }
            // Nobody asks for a frame behind the last one if the length is known.
            Poll::Ready(Some(Ok(_))) => this.release_at_end(),
            Poll::Ready(Some(Err(_))) => this.connection = None,
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
