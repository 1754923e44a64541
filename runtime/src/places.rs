//! The places of a listener for open connections, and who loses one when all are taken.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::limits::WhenFull;

/// A bounded number of places.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    when_full: WhenFull,
    taken: Taken,
}

/// The place of one connection.
pub(crate) struct Place {
    number: u64,
    /// Cancelled when a newer connection needs the place.
    cut: CancellationToken,
    taken: Taken,
    _permit: OwnedSemaphorePermit,
}

/// The connections that have a place.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<ByNumber>>);

/// The connections by their number: the oldest is the first.
#[derive(Default)]
struct ByNumber {
    next: u64,
    open: BTreeMap<u64, CancellationToken>,
}

impl Places {
    pub(crate) fn new(number: usize, when_full: WhenFull) -> Self {
        Self {
            free: Arc::new(Semaphore::new(number)),
            when_full,
            taken: Taken::default(),
        }
    }

    /// The next connection, in a place.
    pub(crate) async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, Place)> {
        let (stream, permit) = match self.when_full {
            WhenFull::Wait => {
                let permit = self.wait().await.map_err(io::Error::other)?;
                (listener.accept().await?.0, permit)
            }
            WhenFull::CloseOldest => {
                let stream = listener.accept().await?.0;
                if self.free.available_permits() == 0 {
                    self.taken.cut_oldest();
                }
                (stream, self.wait().await.map_err(io::Error::other)?)
            }
        };
        Ok((stream, self.taken.place(permit)))
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.free).acquire_owned().await
    }
}

impl Taken {
    fn place(&self, permit: OwnedSemaphorePermit) -> Place {
        let cut = CancellationToken::new();
        let mut taken = self.lock();
        let number = taken.next;
        taken.next += 1;
        taken.open.insert(number, cut.clone());
        drop(taken);
        Place {
            number,
            cut,
            taken: self.clone(),
            _permit: permit,
        }
    }

    fn cut_oldest(&self) {
        if let Some((_, oldest)) = self.lock().open.pop_first() {
            oldest.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ByNumber> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Serves a connection for as long as it may keep its place.
    pub(crate) async fn keep(self, connection: impl Future<Output = ()>) {
        self.cut.run_until_cancelled(connection).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.lock().open.remove(&self.number);
    }
}
