//! The slots of a listener for open connections, and which connection loses its slot when all are taken.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::connection_state::ConnectionState;
use crate::limits::WhenFull;

/// Pause before another connection is asked to close, because every connection was busy or the one that was asked had a
/// new request.
const EVICTION_RETRY: Duration = Duration::from_millis(500);

/// A connection that has been idle for less than this is not asked to close, because the head of a new request may be
/// on its way.
const MINIMUM_IDLE: Duration = Duration::from_secs(1);

/// A bounded number of slots for connections.
pub(crate) struct ConnectionSlots {
    free: Arc<Semaphore>,
    when_full: WhenFull,
    /// Cancelled when every connection loses its slot.
    force_close: CancellationToken,
    taken: Taken,
}

/// The slot of one connection. Dropping it frees the slot.
pub(crate) struct ConnectionSlot {
    number: u64,
    /// Cancelled when the slot is taken away, even while the connection is busy.
    force_close: CancellationToken,
    state: ConnectionState,
    taken: Taken,
    _permit: OwnedSemaphorePermit,
}

/// The connections that have a slot.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<ByNumber>>);

/// The connections by their number. The first one is the oldest.
#[derive(Default)]
struct ByNumber {
    next: u64,
    open: BTreeMap<u64, (CancellationToken, ConnectionState)>,
}

impl ConnectionSlots {
    /// Creates slots of which every connection loses its own when `force_close` is cancelled.
    pub(crate) fn new(number: usize, when_full: WhenFull, force_close: CancellationToken) -> Self {
        Self {
            free: Arc::new(Semaphore::new(number)),
            when_full,
            force_close,
            taken: Taken::default(),
        }
    }

    /// Accepts the next connection and gives it a slot.
    pub(crate) async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, ConnectionSlot)> {
        let stream = listener.accept().await?.0;
        Ok((stream, self.acquire(ConnectionState::new()).await?))
    }

    /// Waits for a slot for a connection.
    pub(crate) async fn acquire(&self, state: ConnectionState) -> io::Result<ConnectionSlot> {
        let mut free = pin!(Arc::clone(&self.free).acquire_owned());
        if self.free.available_permits() == 0 {
            self.taken.make_room(self.when_full);
        }
        loop {
            if let Ok(permit) = timeout(EVICTION_RETRY, free.as_mut()).await {
                let permit = permit.map_err(io::Error::other)?;
                return Ok(self.taken.slot(permit, state, self.force_close.child_token()));
            }
            self.taken.make_room(self.when_full);
        }
    }
}

impl Taken {
    fn slot(
        &self,
        permit: OwnedSemaphorePermit,
        state: ConnectionState,
        force_close: CancellationToken,
    ) -> ConnectionSlot {
        let mut taken = self.lock();
        let number = taken.next;
        taken.next += 1;
        taken.open.insert(number, (force_close.clone(), state.clone()));
        drop(taken);
        ConnectionSlot {
            number,
            force_close,
            state,
            taken: self.clone(),
            _permit: permit,
        }
    }

    fn make_room(&self, when_full: WhenFull) {
        let mut taken = self.lock();
        match when_full {
            WhenFull::CloseOldest => {
                if let Some((_, (oldest, _))) = taken.open.pop_first() {
                    oldest.cancel();
                }
            }
            WhenFull::CloseIdle => {
                let idle = taken.open.values().filter_map(|(_, state)| {
                    let since = state.idle_since()?;
                    (since.elapsed() >= MINIMUM_IDLE).then_some((since, state))
                });
                if let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) {
                    longest.request_close();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ByNumber> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSlot {
    pub(crate) fn state(&self) -> ConnectionState {
        self.state.clone()
    }

    /// Serves a connection until it ends or its slot is taken away.
    pub(crate) async fn run_until_evicted(self, connection: impl Future<Output = ()>) {
        self.force_close.run_until_cancelled(connection).await;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.taken.lock().open.remove(&self.number);
    }
}
