//! The `behalf-operator` binary: reads its command line and runs.

use std::io::Write as _;
use std::process::ExitCode;

use behalf_operator::cli::{Cli, Command, Run};
use behalf_operator::error_chain::chain;
use behalf_operator::{api, check, run};
use behalf_runtime::{LogFormat, LogLevel, Logging};
use clap::Parser as _;
use jiff::Timestamp;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Crd { helm }) => print_crd(if helm {
            api::crd::helm_yaml()
        } else {
            api::crd::yaml()
        }),
        Some(Command::Check(options)) => {
            execute(options.log, "Operator does not work", check::check(*options))
        }
        Some(Command::Run(options)) => operate(*options),
        None => operate(cli.run),
    }
}

fn print_crd(yaml: Result<String, serde_yaml::Error>) -> ExitCode {
    let written = yaml
        .map_err(std::io::Error::other)
        .and_then(|yaml| std::io::stdout().write_all(yaml.as_bytes()));
    if written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn operate(options: Run) -> ExitCode {
    execute(options.log, "Operator cannot run", run::run(options, now))
}

/// Runs `work` to its end. `failure` begins the line of the log that contains its error.
fn execute<E: std::error::Error + 'static>(
    level: LogLevel,
    failure: &'static str,
    work: impl Future<Output = Result<(), E>>,
) -> ExitCode {
    let logging = Logging {
        format: LogFormat::Json,
        level,
        ours: &["behalf_operator"],
        libraries: LogLevel::Info,
        // It prints bodies that it cannot decode, and one may be a Secret. The operator reports such errors.
        silent: &["kube_client"],
    };
    logging.start();
    // An error means that this same provider is already installed: the program has only one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // One thread: the operator mostly waits for the API server, and each thread would have memory of its own.
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(work).map_err(|error| chain(&error)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "{failure}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock enters the program here")]
fn now() -> Timestamp {
    Timestamp::now()
}
