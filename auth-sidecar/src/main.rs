//! The auth sidecar's process: command line, logs, signals.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use behalf_auth_sidecar::cli::Cli;
use behalf_auth_sidecar::config;
use behalf_auth_sidecar::keys::SystemRandom;
use behalf_auth_sidecar::lifecycle::Sidecar;
use behalf_auth_sidecar::services::Environment;
use behalf_entra::{RetryPolicy, SystemClock};
use behalf_runtime::{LogFormat, LogLevel, Logging, Signal, Signals, error_chain};
use clap::Parser as _;

/// Threads at most. Without a CPU limit a container sees every core of its node, and each thread has caches
/// of its own; four of them carry far more calls than a server behind one sidecar.
const MOST_THREADS: usize = 4;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let logging = Logging {
        format: LogFormat::Json,
        level: cli.log,
        ours: &["behalf_auth_sidecar", "behalf_entra"],
        libraries: LogLevel::Info,
        silent: &[],
    };
    logging.start();
    match serve(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("The sidecar cannot start: {}", error_chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn serve(cli: Cli) -> Result<(), Box<dyn Error>> {
    let threads = thread::available_parallelism().map_or(1, |count| count.get().min(MOST_THREADS));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?
        .block_on(run(cli))
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::listen()?;
    // Once for the process: whatever speaks TLS here uses it. It fails only when it was done before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();

    let loaded = config::load(&cli.config, cli.configuration_digest.as_deref())?;
    let environment = Environment {
        federated_token_file: cli.federated_token_file,
        entra_retry: RetryPolicy::default(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    };
    let sidecar = Sidecar::start(loaded, environment).await?;
    match signals.next().await {
        Signal::Terminate => {
            tracing::info!("Asked to stop: serving until the MCP server is gone");
            sidecar.stop_after_server().await;
        }
        Signal::Interrupt => sidecar.stop().await,
    }
    tracing::info!("Stopped");
    Ok(())
}
