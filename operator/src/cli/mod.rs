//! The command line.

mod run;
#[cfg(test)]
mod tests;

use clap::{Parser, Subcommand};

pub use self::run::Run;

/// The Behalf operator.
#[derive(Debug, Parser)]
#[command(
    name = "behalf-operator",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// The subcommand; `run` when absent.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Options of `run`.
    #[command(flatten)]
    pub run: Run,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconciles `McpServers`.
    Run(Box<Run>),

    /// Checks with the options of `run` that the operator of this installation works; `helm test` does so.
    Check(Box<Run>),

    /// Prints the CRD as YAML.
    Crd {
        /// As template of the chart behalf-crds: Helm keeps it, and with it every object, on uninstall.
        #[arg(long)]
        helm: bool,
    },
}
