//! Tracks the streams of one HTTP/2 connection: how many are open, and whether the client reads them.
//!
//! One connection of a gateway carries many users. Therefore a stream that the client does not read is reset
//! alone, and a connection is idle only when no stream is open. HTTP/1.1 does not need this, because the
//! socket shows both.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Maximum size of a part of an answer that HTTP/2 gets at once, in bytes. HTTP/2 keeps the part until the
/// client allows it to be sent, even when the answer ends with it.
const PART: usize = 16 * 1024;

tokio::task_local! {
    /// The stream on which the current request came.
    static STREAM: Progress;
}

/// Runs the streams of a connection.
#[derive(Clone)]
pub(crate) struct Streams {
    /// `None` before the first stream.
    open: Arc<watch::Sender<Option<usize>>>,
    write_limit: Duration,
}

impl Streams {
    pub(crate) fn new(write_limit: Duration) -> Self {
        Self {
            open: Arc::new(watch::Sender::new(None)),
            write_limit,
        }
    }

    /// Returns when the first stream was opened.
    pub(crate) async fn begun(&self) {
        // It cannot be closed: this borrows a sender.
        let _ = self.open.subscribe().wait_for(Option::is_some).await;
    }

    /// Returns after no stream was open for `limit`.
    pub(crate) async fn idle(&self, limit: Duration) {
        let mut open = self.open.subscribe();
        loop {
            let is_idle = open.borrow_and_update().is_none_or(|open| open == 0);
            let changed = open.changed();
            if !is_idle {
                let _ = changed.await;
            } else if timeout(limit, changed).await.is_err() {
                return;
            }
        }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.open.send_modify(|open| *open = Some(open.unwrap_or(0) + 1));
        let closed = Closed(Arc::clone(&self.open));
        let (progress, limit) = (Progress::default(), self.write_limit);
        tokio::spawn(async move {
            let _closed = closed;
            tokio::select! {
                _ = STREAM.scope(progress.clone(), stream) => {}
                // Dropping the stream resets it.
                () = progress.stalled(limit) => tracing::trace!("Reset a stream that its client does not read"),
            }
        });
    }
}

/// Counts a stream as closed.
struct Closed(Arc<watch::Sender<Option<usize>>>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.map(|open| open - 1));
    }
}

/// The time since when a part of the answer waits for the client.
#[derive(Clone, Default)]
struct Progress(Arc<Mutex<Option<Instant>>>);

impl Progress {
    fn set(&self, waiting_since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = waiting_since;
    }

    /// Returns after one part has waited for `limit`.
    async fn stalled(&self, limit: Duration) {
        loop {
            let waiting_since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match waiting_since {
                Some(since) if since.elapsed() >= limit => return,
                Some(since) => sleep_until(since + limit).await,
                None => sleep(limit).await,
            }
        }
    }
}

/// Lets the stream of the current request observe how the answer is read. Has no effect in HTTP/1.1.
pub(crate) fn watch_answer(response: Response) -> Response {
    match STREAM.try_with(Progress::clone) {
        Ok(progress) => response.map(|body| {
            Body::new(WatchedBody {
                body,
                rest: Bytes::new(),
                progress,
            })
        }),
        Err(_) => response,
    }
}

/// An answer in parts of at most [`PART`] bytes.
struct WatchedBody {
    body: Body,
    /// The rest of the last frame.
    rest: Bytes,
    progress: Progress,
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.progress.set(None);
        if self.rest.is_empty() {
            let frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let length = self.rest.len().min(PART);
        let part = self.rest.split_to(length);
        self.progress.set(Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}
