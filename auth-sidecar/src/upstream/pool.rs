//! Open connections to the server that no request uses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::connection::UpstreamConnection;

/// Idle connections close after this time. It is shorter than the idle limit of usual servers (Node: 5 s), so that
/// a server rarely closes a connection while a request is sent. A new loopback connection costs very little.
const IDLE: Duration = Duration::from_secs(4);

/// The idle connections. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Idle>>);

#[derive(Default)]
struct Idle {
    /// The last one was used last.
    connections: Vec<(Instant, Box<UpstreamConnection>)>,
    /// True while a task closes the connections that are idle for too long.
    is_swept: bool,
}

impl Pool {
    /// Takes the connection that was used last.
    pub(super) fn take(&self) -> Option<Box<UpstreamConnection>> {
        let (since, connection) = self.lock().connections.pop()?;
        (since.elapsed() < IDLE).then_some(connection)
    }

    /// Keeps a connection for the next request if it can be used again. Otherwise it is closed.
    pub(super) fn put(&self, mut connection: Box<UpstreamConnection>) {
        if !connection.is_reusable() {
            return;
        }
        let mut idle = self.lock();
        idle.connections.push((Instant::now(), connection));
        if !std::mem::replace(&mut idle.is_swept, true) {
            drop(idle);
            tokio::spawn(self.clone().sweep());
        }
    }

    /// Closes idle connections until none is left.
    async fn sweep(self) {
        let mut next = Instant::now() + IDLE;
        loop {
            sleep_until(next).await;
            let mut idle = self.lock();
            let is_old = |(since, _): &(Instant, _)| since.elapsed() >= IDLE;
            let old = idle.connections.partition_point(is_old);
            let closed: Vec<_> = idle.connections.drain(..old).collect();
            let oldest = idle.connections.first().map(|(since, _)| *since);
            idle.is_swept = oldest.is_some();
            drop(idle);
            drop(closed);
            match oldest {
                Some(since) => next = since + IDLE,
                None => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
