//! Tracks whether a connection has a request in flight, and since when it has none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// The state of one connection.
#[derive(Clone)]
pub(crate) struct Activity(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    asked: Notify,
}

struct State {
    /// Number of requests in flight, and of writes that wait for the client.
    busy: usize,
    idle_since: Instant,
    /// True after the connection was asked to give up its place. It stays true until the connection answers.
    is_asked: bool,
}

/// Marks a connection as busy until it is dropped.
pub(crate) struct Busy(Activity);

impl Activity {
    /// Creates the state of a connection that has just begun.
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

    /// Returns the time since when the connection is idle. `None` while it is busy, and after it was asked
    /// for its place.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.busy == 0 && !state.is_asked).then_some(state.idle_since)
    }

    /// Asks the connection to give up its place, if it is still idle.
    pub(crate) fn ask(&self) {
        self.lock().is_asked = true;
        self.0.asked.notify_one();
    }

    /// Returns when the idle connection is asked for its place. The task of the connection waits for this, so
    /// that no request begins between question and answer.
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
