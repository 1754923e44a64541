//! Probes whether the MCP server answers a handshake. Turns the result into the published report and the time
//! of the next probe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use behalf_contract::{HandshakeReport, Outcome, Reason, ServerInfo};
use jiff::Timestamp;

use super::handshake_error::{HandshakeError, LIMIT};
use super::mcp_client::McpClient;
use super::schedule::Pace;
use super::sentence::capitalised;
use crate::upstream::Upstream;

/// Makes handshakes with the server.
#[derive(Debug, Clone)]
pub struct HandshakeProbe {
    upstream: Upstream,

    /// The server opened an MCP session for a handshake.
    opened_session: Arc<AtomicBool>,
}

impl HandshakeProbe {
    /// Creates the probe of the server at `upstream`.
    pub fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            opened_session: Arc::default(),
        }
    }

    /// Returns whether the server opened an MCP session for a handshake.
    pub fn opened_session(&self) -> bool {
        self.opened_session.load(Ordering::Relaxed)
    }

    /// Makes one handshake. Then ends the MCP session if the server opened one.
    pub async fn run(&self) -> Result<ServerInfo, HandshakeError> {
        let mut client = McpClient::new(&self.upstream);
        let result = tokio::time::timeout(LIMIT, client.handshake()).await;
        if client.has_session() {
            self.opened_session.store(true, Ordering::Relaxed);
        }
        client.end_session().await;
        result.unwrap_or(Err(HandshakeError::TimedOut))
    }
}

/// Returns the status before the first handshake has ended.
pub fn pending() -> HandshakeReport {
    HandshakeReport {
        outcome: Outcome::Unknown,
        reason: Reason::NotObserved.as_str().to_owned(),
        message: "No handshake with the server has ended yet.".to_owned(),
        server_info: None,
        is_stateful: false,
        observed_at: None,
    }
}

/// Returns the status after a handshake. `starting` is true while the server may still be starting.
pub fn report(
    answer: &Result<ServerInfo, HandshakeError>,
    starting: bool,
    now: Timestamp,
) -> HandshakeReport {
    let (outcome, reason, message) = match answer {
        Ok(info) => (
            Outcome::Verified,
            Reason::HandshakeSucceeded,
            format!(
                "{} {} listed {} tools (MCP {}).",
                info.name, info.version, info.tools, info.protocol_version
            ),
        ),
        Err(HandshakeError::Unreachable(_)) if starting => (
            Outcome::Unknown,
            Reason::ServerStarting,
            "The server does not listen yet; the next handshake follows at once.".to_owned(),
        ),
        Err(error) => {
            let outcome = match error {
                HandshakeError::AuthRequired { .. } => Outcome::Unknown,
                _ => Outcome::Failed,
            };
            (
                outcome,
                error.reason(),
                format!("{}: {}.", capitalised(&error.to_string()), error.fix()),
            )
        }
    };
    HandshakeReport {
        outcome,
        reason: reason.as_str().to_owned(),
        message,
        server_info: answer.as_ref().ok().cloned(),
        // `ProbeResults` knows it: users' requests show it as well.
        is_stateful: false,
        observed_at: Some(now),
    }
}

/// Returns the pace of the next handshake.
pub fn pace(answer: &Result<ServerInfo, HandshakeError>, failures_before: u32) -> Pace {
    match answer {
        Ok(_) | Err(HandshakeError::AuthRequired { .. }) => Pace::Settled,
        Err(_) => Pace::Broken {
            failures: failures_before.saturating_add(1),
            at_least: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> Result<ServerInfo, HandshakeError> {
        Err(HandshakeError::Unreachable("connection refused".into()))
    }

    #[test]
    fn an_unreachable_server_is_unknown_while_starting_and_failed_later() {
        let starting = report(&unreachable(), true, Timestamp::UNIX_EPOCH);
        assert_eq!(
            (starting.outcome, starting.reason.as_str()),
            (Outcome::Unknown, "ServerStarting")
        );
        let gone = report(&unreachable(), false, Timestamp::UNIX_EPOCH);
        assert_eq!(
            (gone.outcome, gone.reason.as_str()),
            (Outcome::Failed, "ServerUnreachable")
        );
        assert!(
            gone.message.contains("spec.server.container.port"),
            "{}",
            gone.message
        );
    }

    #[test]
    fn a_server_that_requires_a_user_is_unknown_and_probed_at_the_regular_interval() {
        let answer = Err(HandshakeError::AuthRequired { method: "initialize" });
        let report = report(&answer, false, Timestamp::UNIX_EPOCH);
        assert_eq!(
            (report.outcome, report.reason.as_str()),
            (Outcome::Unknown, "AuthRequired")
        );
        assert_eq!(pace(&answer, 3), Pace::Settled);
    }
}
