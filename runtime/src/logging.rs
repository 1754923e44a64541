//! Logs: what each level shows, and in which format.

use clap::ValueEnum;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::audit_batch_writer::AuditBatchWriter;
use crate::json_line::JsonLine;

/// The log levels of the command line and of the custom resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum LogLevel {
    /// Failures on which someone must act.
    Error,

    /// Also failures from which the program recovered, and degraded operation.
    Warn,

    /// Also high-level events.
    Info,

    /// Also each decision.
    Debug,

    /// Also each step.
    Trace,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// The target of the audit log. Its lines are shown at every log level.
pub const AUDIT_TARGET: &str = "behalf::audit";

/// The form and the place of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line on standard output, for a Pod. The audit lines of one turn of the event loop are written together.
    Json,

    /// Text on standard error, for a terminal. An MCP client reads standard output.
    Text,
}

/// The log settings of one program.
#[derive(Debug, Clone, Copy)]
pub struct Logging {
    /// The form and the place of the lines.
    pub format: LogFormat,

    /// The level of the crates in `ours`.
    pub level: LogLevel,

    /// Crates that never log tokens, keys or cookies, by their module names. Only their `Debug` and `Trace`
    /// lines are shown.
    pub ours: &'static [&'static str],

    /// The most detailed level of all other crates, at most `Info`: below it, libraries print headers and
    /// bodies.
    pub libraries: LogLevel,

    /// Crates that log nothing, because their lines repeat what a client or an object contains.
    pub silent: &'static [&'static str],
}

impl Logging {
    /// Starts logging. Later calls in the same process change nothing.
    pub fn start(self) {
        match self.format {
            LogFormat::Json => self.start_with(AuditBatchWriter::new(std::io::stdout(), AUDIT_TARGET)),
            LogFormat::Text => self.start_with(std::io::stderr),
        }
    }

    /// Starts logging to `writer`. Later calls in the same process change nothing.
    pub fn start_with<W>(self, writer: W)
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let lines = tracing_subscriber::fmt::layer().with_writer(writer);
        let lines = match self.format {
            LogFormat::Json => lines.event_format(JsonLine).boxed(),
            LogFormat::Text => lines.boxed(),
        };
        let registry = tracing_subscriber::registry().with(self.targets()).with(lines);
        if registry.try_init().is_err() {
            tracing::debug!("Logging was started before");
        }
    }

    fn targets(self) -> Targets {
        let level = Level::from(self.level);
        let libraries = level.min(self.libraries.into()).min(Level::INFO);
        Targets::new()
            .with_default(libraries)
            .with_target("behalf_runtime", level)
            .with_target(AUDIT_TARGET, Level::INFO)
            .with_targets(self.ours.iter().map(|name| (*name, level)))
            .with_targets(self.silent.iter().map(|name| (*name, LevelFilter::OFF)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(level: LogLevel, libraries: LogLevel) -> Targets {
        let logging = Logging {
            format: LogFormat::Json,
            level,
            ours: &["behalf_mcp_server"],
            libraries,
            silent: &["rmcp"],
        };
        logging.targets()
    }

    #[test]
    fn only_our_crates_log_below_info() {
        let targets = targets(LogLevel::Trace, LogLevel::Trace);
        assert!(targets.would_enable("behalf_mcp_server::hop", &Level::TRACE));
        assert!(targets.would_enable("behalf_runtime::listener", &Level::TRACE));
        assert!(targets.would_enable("hyper_util", &Level::INFO));
        assert!(!targets.would_enable("hyper_util", &Level::DEBUG));
        assert!(!targets.would_enable("h2::codec", &Level::TRACE));
    }

    #[test]
    fn libraries_have_a_level_of_their_own() {
        let targets = targets(LogLevel::Trace, LogLevel::Warn);
        assert!(targets.would_enable("hyper_util", &Level::WARN));
        assert!(!targets.would_enable("hyper_util", &Level::INFO));
    }

    #[test]
    fn a_silent_crate_logs_nothing() {
        let targets = targets(LogLevel::Trace, LogLevel::Info);
        assert!(!targets.would_enable("rmcp::service", &Level::ERROR));
    }

    #[test]
    fn audit_lines_are_shown_at_every_level() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Trace] {
            let targets = targets(level, LogLevel::Error);
            assert!(targets.would_enable(AUDIT_TARGET, &Level::INFO), "{level:?}");
        }
    }

    #[test]
    fn libraries_do_not_log_more_than_our_crates() {
        let targets = targets(LogLevel::Error, LogLevel::Info);
        assert!(!targets.would_enable("behalf_mcp_server", &Level::WARN));
        assert!(!targets.would_enable("hyper_util", &Level::WARN));
    }

    #[test]
    fn levels_are_read_in_any_case() {
        for (text, level) in [
            ("Info", LogLevel::Info),
            ("trace", LogLevel::Trace),
            ("ERROR", LogLevel::Error),
        ] {
            assert_eq!(LogLevel::from_str(text, true), Ok(level), "{text}");
        }
        assert!(LogLevel::from_str("loud", true).is_err());
    }
}
