//! Does the MCP server answer a real handshake? What is published of it, and when it is asked again.

use std::time::Duration;

use behalf_contract::{HandshakeReport, Outcome, Reason, ServerInfo};
use http::StatusCode;
use jiff::Timestamp;

use super::capitalised;
use super::mcp_client::Talk;
use super::schedule::Pace;
use crate::upstream::Upstream;

/// For one whole handshake. A server that needs longer to list its tools is no use to a client either.
const LIMIT: Duration = Duration::from_secs(10);

/// Why the handshake did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Nothing listens, or the connection broke.
    #[error("the server does not answer on its port")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),

    /// It took longer than [`LIMIT`].
    #[error("the server did not finish the handshake within {} s", LIMIT.as_secs())]
    TimedOut,

    /// It wants a user's token even for the handshake.
    #[error("the server answers {method} only with a user's token (HTTP 401)")]
    AuthRequired {
        /// The method that it refused.
        method: &'static str,
    },

    /// Another status than success.
    #[error("the server answered {method} with HTTP {status}")]
    Status {
        /// The method.
        method: &'static str,

        /// The status.
        status: StatusCode,
    },

    /// A JSON-RPC error.
    #[error("the server refused {method} with the JSON-RPC error {code}")]
    Refused {
        /// The method.
        method: &'static str,

        /// The error's code.
        code: i64,
    },

    /// An answer that is not what MCP says.
    #[error("the server's answer to {method} is not MCP: {what}")]
    Malformed {
        /// The method.
        method: &'static str,

        /// What is wrong with it.
        what: &'static str,
    },
}

impl HandshakeError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unreachable(_) => Reason::ServerUnreachable,
            Self::TimedOut => Reason::ServerTimedOut,
            Self::AuthRequired { .. } => Reason::AuthRequired,
            Self::Status { .. } | Self::Refused { .. } => Reason::ServerError,
            Self::Malformed { .. } => Reason::NotMcp,
        }
    }

    fn fix(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => {
                "read the log of the server's container; a container of your own must listen on the port of \
                 spec.server.container.port"
            }
            Self::TimedOut => "read the log of the server's container and its resource limits",
            Self::AuthRequired { .. } => {
                "nothing is wrong if this server is meant to; whether it works shows with the first user's call"
            }
            Self::Status { .. } | Self::Malformed { .. } => {
                "a container of your own must serve MCP over Streamable HTTP at spec.server.container.path"
            }
            Self::Refused { .. } => "read the log of the server's container",
        }
    }
}

/// Asks the server, with everything that needs.
#[derive(Debug, Clone)]
pub struct HandshakeProbe {
    upstream: Upstream,
}

impl HandshakeProbe {
    /// A probe for the server behind `upstream`.
    pub fn new(upstream: Upstream) -> Self {
        Self { upstream }
    }

    /// One handshake, and the end of the session if the server opened one.
    pub async fn ask(&self) -> Result<ServerInfo, HandshakeError> {
        let mut talk = Talk::new(&self.upstream);
        let result = tokio::time::timeout(LIMIT, talk.handshake()).await;
        talk.end().await;
        result.unwrap_or(Err(HandshakeError::TimedOut))
    }
}

/// Returns the status before the first handshake ended.
pub fn pending() -> HandshakeReport {
    HandshakeReport {
        outcome: Outcome::Unknown,
        reason: Reason::NotObserved.as_str().to_owned(),
        message: "The server was not asked yet.".to_owned(),
        server_info: None,
        observed_at: None,
    }
}

/// Returns the status after a handshake. `starting`: the server may still be on its way up.
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
            "The server does not listen yet; it is asked again in a moment.".to_owned(),
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
        observed_at: Some(now),
    }
}

/// How soon to ask again.
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
    fn a_server_on_its_way_up_is_unknown_and_one_that_stays_away_has_failed() {
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
    fn a_server_that_wants_a_user_is_unknown_and_not_asked_often() {
        let answer = Err(HandshakeError::AuthRequired { method: "initialize" });
        let report = report(&answer, false, Timestamp::UNIX_EPOCH);
        assert_eq!(
            (report.outcome, report.reason.as_str()),
            (Outcome::Unknown, "AuthRequired")
        );
        assert_eq!(pace(&answer, 3), Pace::Settled);
    }
}
