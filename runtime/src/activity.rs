//! Whether a connection has a request under way, and since when it has none.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What one connection is doing.
#[derive(Clone)]
pub(crate) struct Activity(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    asked: Notify,
}

struct State {
    /// Requests under way, and writes that wait for the client.
    busy: usize,
    idle_since: Instant,
    /// The connection was asked to give its place up and has not answered.
    is_asked: bool,
}

/// Keeps a connection from being idle until it is dropped.
pub(crate) struct Busy(Activity);

impl Activity {
    /// Of a connection that has just begun.
    pub(crate) fn new() -> Self {
        let state = State {
            busy: 0,
            idle_since: Instant::now(),
            is_asked: false,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            asked: Notify::new(),
        }))
    }

    pub(crate) fn busy(&self) -> Busy {
        self.lock().busy += 1;
        Busy(self.clone())
    }

    /// Since when the connection is idle. `None` while it is busy, and after it was asked for its place.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.busy == 0 && !state.is_asked).then_some(state.idle_since)
    }

    /// Asks the connection to give its place up, if it is still idle.
    pub(crate) fn ask(&self) {
        self.lock().is_asked = true;
        self.0.asked.notify_one();
    }

    /// Returns when the idle connection was asked for its place. The task of the connection waits for this, so that
    /// no request begins between the question and the answer.
    pub(crate) async fn asked(&self) {
        loop {
            self.0.asked.notified().await;
            let mut state = self.lock();
            if state.busy == 0 {
                return;
            }
            state.is_asked = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        state.idle_since = Instant::now();
    }
}

/// Lets a request be under way until its answer was handed on.
pub(crate) fn until_answered(response: Response, busy: Busy) -> Response {
    response.map(|body| Body::new(BusyBody { body, _busy: busy }))
}

struct BusyBody {
    body: Body,
    _busy: Busy,
}

impl HttpBody for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
