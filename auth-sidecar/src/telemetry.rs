//! Logs: one JSON object a line, on standard output.

use std::error::Error;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// The crates that are held to the rule that no log line shows a token. `behalf_contract` and what else is
/// ours never logs.
const OURS: [&str; 2] = ["behalf_auth_sidecar", "behalf_entra"];

/// Starts logging. The caller does it once.
pub fn init(level: Level) -> Result<(), TryInitError> {
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false);
    tracing_subscriber::registry()
        .with(lines)
        .with(targets(level))
        .try_init()
}

/// What is logged at `level`. Debug and trace are for our own code alone: libraries stay at info, because
/// what they print below that may hold headers and bodies.
fn targets(level: Level) -> Targets {
    let libraries = level.min(Level::INFO);
    Targets::new()
        .with_default(libraries)
        .with_targets(OURS.map(|name| (name, level)))
}

/// An error with its causes, for one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_never_log_below_info() {
        let targets = targets(Level::TRACE);
        assert!(targets.would_enable("behalf_auth_sidecar::proxy", &Level::TRACE));
        assert!(targets.would_enable("hyper_util", &Level::INFO));
        assert!(!targets.would_enable("hyper_util", &Level::DEBUG));
        assert!(!targets.would_enable("h2::codec", &Level::TRACE));
    }

    #[test]
    fn a_quiet_level_is_quiet_for_all() {
        let targets = targets(Level::ERROR);
        assert!(!targets.would_enable("behalf_auth_sidecar", &Level::WARN));
        assert!(!targets.would_enable("hyper_util", &Level::WARN));
    }
}
