//! The latest of each observation, for `/status`.

use std::sync::{Mutex, PoisonError};

use behalf_contract::{FederationReport, HandshakeReport};

use super::{federation, handshake};

/// Holds what was seen last.
#[derive(Debug)]
pub struct StatusBoard {
    federation: Mutex<FederationReport>,
    handshake: Mutex<HandshakeReport>,
}

impl Default for StatusBoard {
    fn default() -> Self {
        Self {
            federation: Mutex::new(federation::pending()),
            handshake: Mutex::new(handshake::pending()),
        }
    }
}

impl StatusBoard {
    /// Publishes; true when outcome or reason differ from what was there.
    pub fn publish_federation(&self, report: FederationReport) -> bool {
        let mut current = self.federation.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = (current.outcome, &current.reason) != (report.outcome, &report.reason);
        *current = report;
        changed
    }

    /// Publishes; true when outcome or reason differ from what was there.
    pub fn publish_handshake(&self, report: HandshakeReport) -> bool {
        let mut current = self.handshake.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = (current.outcome, &current.reason) != (report.outcome, &report.reason);
        *current = report;
        changed
    }

    /// The last observation of the federation.
    pub fn federation(&self) -> FederationReport {
        self.federation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The last observation of the MCP server.
    pub fn handshake(&self) -> HandshakeReport {
        self.handshake
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use behalf_contract::Outcome;

    use super::*;

    #[test]
    fn nothing_is_claimed_before_it_was_seen() {
        let board = StatusBoard::default();
        assert_eq!(board.federation().outcome, Outcome::Unknown);
        assert_eq!(board.federation().observed_at, None);
        assert_eq!(board.handshake().outcome, Outcome::Unknown);
        assert_eq!(board.handshake().server_info, None);
    }

    #[test]
    fn the_same_again_is_no_change() {
        let board = StatusBoard::default();
        let mut report = federation::pending();
        report.outcome = Outcome::Failed;
        assert!(board.publish_federation(report.clone()));
        assert!(!board.publish_federation(report));
    }
}
