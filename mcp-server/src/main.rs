//! The binary: parses the flags, chooses the TLS library and starts the runtime.

use std::process::ExitCode;

use behalf_mcp_server::cli::Cli;
use behalf_mcp_server::serve;
use behalf_runtime::error_chain;
use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Fails only if another TLS library was chosen before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match serve::run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("The server cannot start: {}", error_chain(&error));
            ExitCode::FAILURE
        }
    }
}
