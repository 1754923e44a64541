//! The places of a listener for open connections, and which connection loses its place when all are taken.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::activity::Activity;
use crate::limits::WhenFull;

/// Pause before another connection is asked for its place, because every connection was busy or the one that
/// was asked had a new request.
const NEXT: Duration = Duration::from_millis(500);

/// A connection that has been idle for less than this is not asked, because the head of a new request may be
/// on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// A bounded number of places.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    when_full: WhenFull,
    /// Cancelled when every connection loses its place.
    cut: CancellationToken,
    taken: Taken,
}

/// The place of one connection.
pub(crate) struct Place {
    number: u64,
    /// Cancelled when the place is taken away, even while the connection is busy.
    cut: CancellationToken,
    activity: Activity,
    taken: Taken,
    _permit: OwnedSemaphorePermit,
}

/// The connections that have a place.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<ByNumber>>);

/// The connections by their number. The first one is the oldest.
#[derive(Default)]
struct ByNumber {
    next: u64,
    open: BTreeMap<u64, (CancellationToken, Activity)>,
}

impl Places {
    /// Creates places of which every connection loses its own when `cut` is cancelled.
    pub(crate) fn new(number: usize, when_full: WhenFull, cut: CancellationToken) -> Self {
        Self {
            free: Arc::new(Semaphore::new(number)),
            when_full,
            cut,
            taken: Taken::default(),
        }
    }

    /// Accepts the next connection and gives it a place.
    pub(crate) async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, Place)> {
        let stream = listener.accept().await?.0;
        Ok((stream, self.take(Activity::new()).await?))
    }

    /// Waits for a place for a connection.
    pub(crate) async fn take(&self, activity: Activity) -> io::Result<Place> {
        let mut free = pin!(Arc::clone(&self.free).acquire_owned());
        if self.free.available_permits() == 0 {
            self.taken.make_room(self.when_full);
        }
        loop {
            if let Ok(permit) = timeout(NEXT, free.as_mut()).await {
                let permit = permit.map_err(io::Error::other)?;
                return Ok(self.taken.place(permit, activity, self.cut.child_token()));
            }
            self.taken.make_room(self.when_full);
        }
    }
}

impl Taken {
    fn place(&self, permit: OwnedSemaphorePermit, activity: Activity, cut: CancellationToken) -> Place {
        let mut taken = self.lock();
        let number = taken.next;
        taken.next += 1;
        taken.open.insert(number, (cut.clone(), activity.clone()));
        drop(taken);
        Place {
            number,
            cut,
            activity,
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
                let idle = taken.open.values().filter_map(|(_, activity)| {
                    let since = activity.idle_since()?;
                    (since.elapsed() >= ON_ITS_WAY).then_some((since, activity))
                });
                if let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) {
                    longest.ask();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ByNumber> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(crate) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// Serves a connection while it keeps its place.
    pub(crate) async fn keep(self, connection: impl Future<Output = ()>) {
        self.cut.run_until_cancelled(connection).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.lock().open.remove(&self.number);
    }
}
