//! The command line of the process.

use std::path::PathBuf;

use behalf_contract::{digest, paths};
use behalf_runtime::LogLevel;
use clap::{Parser, Subcommand};

use crate::admin::AdminArguments;

/// The auth sidecar of a Behalf Pod.
#[derive(Debug, Clone, Parser)]
#[command(name = "behalf-auth-sidecar", version, about)]
pub struct Cli {
    /// The configuration file that the operator wrote.
    #[arg(long, value_name = "PATH", default_value = paths::SIDECAR_CONFIG)]
    pub config: PathBuf,

    /// The SHA-256 that the configuration file must have. The operator sets it. Without it, any file is accepted.
    #[arg(long, value_name = "SHA256", env = digest::VARIABLE)]
    pub configuration_digest: Option<String>,

    /// The level of the sidecar's own log lines.
    #[arg(
        long,
        value_name = "LEVEL",
        env = "BEHALF_LOG",
        default_value = "Info",
        ignore_case = true
    )]
    pub log: LogLevel,

    /// The file of the projected ServiceAccount token. It is read on every use.
    #[arg(long, value_name = "PATH", env = paths::FEDERATED_TOKEN_VARIABLE)]
    pub federated_token_file: Option<PathBuf>,

    /// Without a command, the sidecar serves.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command that does not serve.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Administer the sessions of the running sidecar of this container.
    Admin(AdminArguments),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_expected_digest_from_the_environment_variable_of_the_pod_template() {
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
