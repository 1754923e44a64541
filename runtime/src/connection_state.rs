//! Tracks whether a connection has a request in flight, and since when it has none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// The state of one connection.
#[derive(Clone)]
pub(crate) struct ConnectionState(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    close_requested: Notify,
}

struct State {
    /// Number of requests in flight, and of writes that wait for the client.
    busy: usize,
    idle_since: Instant,
    /// True after the connection was asked to close. It stays true until the connection answers.
    is_close_requested: bool,
}

/// Marks a connection as busy until it is dropped.
pub(crate) struct Busy(ConnectionState);

impl ConnectionState {
    /// Creates the state of a connection that has just begun.
    pub(crate) fn new() -> Self {
        let state = State {
            busy: 0,
            idle_since: Instant::now(),
            is_close_requested: false,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            close_requested: Notify::new(),
        }))
    }

    pub(crate) fn busy(&self) -> Busy {
        self.lock().busy += 1;
        Busy(self.clone())
    }

    /// Returns the time since when the connection is idle. `None` while it is busy, and after it was asked
    /// to close.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.busy == 0 && !state.is_close_requested).then_some(state.idle_since)
    }

    /// Asks the connection to close, if it is still idle.
    pub(crate) fn request_close(&self) {
        self.lock().is_close_requested = true;
        self.0.close_requested.notify_one();
    }

    /// Returns when the idle connection is asked to close. The task of the connection waits for this, so
    /// that no request begins between question and answer.
    pub(crate) async fn close_requested(&self) {
        loop {
            self.0.close_requested.notified().await;
            let mut state = self.lock();
            if state.busy == 0 {
                return;
            }
            state.is_close_requested = false;
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
