//! Logs: JSON on standard output in a Pod, text on standard error at a laptop, where standard output
//! belongs to the protocol.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, on standard output.
    Json,

    /// Text, on standard error.
    Text,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(LevelFilter);

/// Not a level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a log level: use off, error, warn, info, debug or trace")]
pub struct UnknownLevel(String);

impl Default for Level {
    fn default() -> Self {
        Self(LevelFilter::INFO)
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        text.to_ascii_lowercase()
            .parse()
            .map(Self)
            .map_err(|_| UnknownLevel(text.to_owned()))
    }
}

/// Starts logging; later calls change nothing.
pub fn start(format: Format, level: Level) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_span_events(FmtSpan::NONE);
    let started = match format {
        Format::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
        Format::Text => builder.with_writer(std::io::stderr).try_init(),
    };
    if started.is_err() {
        tracing::debug!("Logging was started before");
    }
}

/// The level applies to this project's crates. Other libraries log warnings and errors. The MCP library logs
/// nothing: its warnings and errors repeat method names, headers and messages that clients choose, and at
/// debug it logs whole requests and answers. Its failures still reach the client as answers, or this program
/// as errors.
fn filter(level: Level) -> EnvFilter {
    let libraries = level.0.min(LevelFilter::WARN);
    EnvFilter::builder().parse_lossy(format!(
        "{libraries},rmcp=off,behalf_mcp_server={0},behalf_entra={0}",
        level.0
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_whatever_their_case() {
        assert_eq!("Info".parse(), Ok(Level(LevelFilter::INFO)));
        assert_eq!("TRACE".parse(), Ok(Level(LevelFilter::TRACE)));
        assert!("loud".parse::<Level>().is_err());
    }

    #[test]
    fn libraries_are_never_louder_than_warnings() {
        let text = filter(Level(LevelFilter::TRACE)).to_string();
        assert!(
            text.contains("behalf_mcp_server=trace") && text.contains("warn") && text.contains("rmcp=off"),
            "{text}"
        );
        assert!(!filter(Level(LevelFilter::ERROR)).to_string().contains("warn"));
    }
}
