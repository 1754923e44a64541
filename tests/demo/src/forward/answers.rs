//! A record of the bytes that Pods sent to clients.

use std::sync::{Arc, Mutex, PoisonError};

/// What came back through the loopback ports: for each connection its port and every byte.
#[derive(Clone, Default)]
pub struct Answers(Arc<Mutex<Vec<(u16, Copied)>>>);

/// What one connection brought back so far.
pub(super) type Copied = Arc<Mutex<Vec<u8>>>;

impl Answers {
    /// What came back through this port so far, connection by connection.
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
