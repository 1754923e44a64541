//! The auth sidecar's process: command line, logging and signals.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use behalf_auth_sidecar::admin::{self, AdminArguments};
use behalf_auth_sidecar::cli::{Cli, Command};
use behalf_auth_sidecar::clients::{PublicAddresses, SystemResolver};
use behalf_auth_sidecar::config;
use behalf_auth_sidecar::keys::SystemRandom;
use behalf_auth_sidecar::lifecycle::Sidecar;
use behalf_auth_sidecar::services::Environment;
use behalf_entra::{RetryPolicy, SystemClock};
use behalf_runtime::{LogFormat, LogLevel, Logging, Signal, Signals, error_chain, warn_of_ignored_proxy};
use clap::Parser as _;
use tikv_jemallocator::Jemalloc;

/// A message needs buffers of several KiB, which the allocator of glibc does not keep for the next message.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Maximum number of worker threads. Without a CPU limit the process sees every core of its node, and each thread
/// needs its own memory for caches. Four threads forward far more calls than one server can answer.
const MAX_THREADS: usize = 4;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Admin(arguments)) = &cli.command {
        return administer(arguments);
    }
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

/// Runs a command of an administrator. Its errors go to the standard error as text, because a person reads them.
fn administer(arguments: &AdminArguments) -> ExitCode {
    let run = || -> Result<(), Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (input, mut output) = (io::stdin(), io::stdout());
        Ok(runtime.block_on(admin::run(arguments, input, &mut output))?)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody reads a standard error that cannot be written.
            let _ = writeln!(io::stderr(), "{}", error_chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn serve(cli: Cli) -> Result<(), Box<dyn Error>> {
    let threads = thread::available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS));
    // On one core a runtime that moves tasks between threads only costs time.
    let mut runtime = if threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    runtime
        .worker_threads(threads)
        .enable_all()
        .build()?
        .block_on(run(cli))
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::listen()?;
    // All TLS connections of the process use this provider. The call fails only if a provider is installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();

    let loaded = config::load(&cli.config, cli.configuration_digest.as_deref())?;
    warn_of_ignored_proxy(loaded.config.egress_proxy.is_some(), std::env::vars_os());
    let environment = Environment {
        federated_token_file: cli.federated_token_file,
        entra_retry: RetryPolicy::default(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        document_resolver: Arc::new(PublicAddresses::of(Arc::new(SystemResolver))),
    };
    let sidecar = Sidecar::start(loaded, environment).await?;
    match signals.next().await {
        Signal::Terminate => {
            tracing::info!("Received SIGTERM; serving until the MCP server has stopped");
            sidecar.stop_after_server().await;
        }
        Signal::Interrupt => sidecar.stop().await,
    }
    tracing::info!("Stopped");
    Ok(())
}
