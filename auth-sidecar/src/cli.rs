//! The command line of the process.

use std::path::PathBuf;

use behalf_contract::{digest, paths};
use clap::{Parser, ValueEnum};
use tracing::Level;

/// The auth sidecar of a Behalf Pod.
#[derive(Debug, Clone, Parser)]
#[command(name = "behalf-auth-sidecar", version, about)]
pub struct Cli {
    /// The configuration file that the operator wrote.
    #[arg(long, value_name = "PATH", default_value = paths::SIDECAR_CONFIG)]
    pub config: PathBuf,

    /// The SHA-256 that the configuration file must have; the operator sets it. Without it any file is taken.
    #[arg(long, value_name = "SHA256", env = digest::VARIABLE)]
    pub configuration_digest: Option<String>,

    /// How much of its own work the sidecar logs.
    #[arg(
        long,
        value_name = "LEVEL",
        env = "BEHALF_LOG",
        default_value = "Info",
        ignore_case = true
    )]
    pub log: LogLevel,

    /// The projected `ServiceAccount` token, read on every use.
    #[arg(long, value_name = "PATH", env = paths::FEDERATED_TOKEN_VARIABLE)]
    pub federated_token_file: Option<PathBuf>,
}

/// The levels of `spec.sidecar.logLevel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum LogLevel {
    /// Someone must act.
    Error,
    /// Recovered, or working less well.
    Warn,
    /// High-level events.
    Info,
    /// Each decision.
    Debug,
    /// Each step.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_levels_of_the_custom_resource() {
        for (text, level) in [
            ("Info", LogLevel::Info),
            ("trace", LogLevel::Trace),
            ("ERROR", LogLevel::Error),
        ] {
            let cli = Cli::try_parse_from(["behalf-auth-sidecar", "--log", text]).unwrap();
            assert_eq!(cli.log, level, "{text}");
        }
        assert!(Cli::try_parse_from(["behalf-auth-sidecar", "--log", "loud"]).is_err());
    }

    #[test]
    fn is_told_by_the_pod_template_which_configuration_to_start_with() {
        use clap::CommandFactory as _;
        let command = Cli::command();
        let digest = command
            .get_arguments()
            .find(|argument| argument.get_id() == "configuration_digest");
        assert_eq!(digest.unwrap().get_env().unwrap(), "BEHALF_CONFIGURATION_DIGEST");
    }

    #[test]
    fn reads_the_configuration_where_the_operator_mounts_it() {
        let cli = Cli::try_parse_from(["behalf-auth-sidecar"]).unwrap();
        assert_eq!(cli.config, PathBuf::from(paths::SIDECAR_CONFIG));
    }
}
