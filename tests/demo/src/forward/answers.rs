//! A record of the bytes that Pods sent to clients.

use std::sync::{Arc, Mutex, PoisonError};

/// The answers that came through the loopback ports: port and bytes of each connection.
#[derive(Clone, Default)]
pub struct Answers(Arc<Mutex<Vec<(u16, Copied)>>>);

/// The answers of one connection.
pub(super) type Copied = Arc<Mutex<Vec<u8>>>;

impl Answers {
    /// Returns the answers that came through this port, by connection.
    pub fn of(&self, port: u16) -> Vec<Vec<u8>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .filter(|(through, _)| *through == port)
            .map(|(_, bytes)| bytes.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }

    /// Begins the record of a new connection.
    pub(super) fn connection(&self, port: u16) -> Copied {
        let bytes = Arc::default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((port, Arc::clone(&bytes)));
        bytes
    }
}
