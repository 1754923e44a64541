//! The last result of each probe, for `/status`.

use std::sync::{Mutex, PoisonError};

use behalf_contract::{FederationReport, HandshakeReport};

use super::{federation, handshake};

/// Keeps the last result of each probe.
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
    /// Replaces the result of the federation probe. Returns true if the outcome or the reason changed.
    pub fn publish_federation(&self, report: FederationReport) -> bool {
        let mut current = self.federation.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = (current.outcome, &current.reason) != (report.outcome, &report.reason);
        *current = report;
        changed
    }

    /// Replaces the result of the handshake probe. Returns true if the outcome or the reason changed.
    pub fn publish_handshake(&self, report: HandshakeReport) -> bool {
        let mut current = self.handshake.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = (current.outcome, &current.reason) != (report.outcome, &report.reason);
        *current = report;
        changed
    }

    /// Returns the last result of the federation probe.
    pub fn federation(&self) -> FederationReport {
        self.federation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns the last result of the handshake probe.
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
    fn results_are_unknown_before_the_first_probe() {
        let board = StatusBoard::default();
        assert_eq!(board.federation().outcome, Outcome::Unknown);
        assert_eq!(board.federation().observed_at, None);
        assert_eq!(board.handshake().outcome, Outcome::Unknown);
        assert_eq!(board.handshake().server_info, None);
    }

    #[test]
    fn an_equal_result_is_no_change() {
        let board = StatusBoard::default();
        let mut report = federation::pending();
        report.outcome = Outcome::Failed;
        assert!(board.publish_federation(report.clone()));
        assert!(!board.publish_federation(report));
    }
}
