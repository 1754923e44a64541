//! `behalf-demo`: what `make demo` runs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use behalf_demo::environment::Layout;
use behalf_demo::forward::{self, Way};
use behalf_demo::{DemoError, Progress};
use behalf_local_cluster::cluster::Kind;
use behalf_local_cluster::files;
use behalf_runtime::error_chain;
use clap::{Parser, Subcommand};

/// Runs Behalf on a cluster: three users sign in and call tools.
#[derive(Parser)]
#[command(name = "behalf-demo", version)]
struct Cli {
    #[command(subcommand)]
    command: Action,

    /// Where to run: local, kind or current. Default: kind when Docker answers, else local.
    #[arg(long, env = "CLUSTER", global = true, value_parser = kind)]
    cluster: Option<Kind>,
}

#[derive(Subcommand)]
enum Action {
    /// Bring everything up, play the demo, leave it running.
    Up {
        /// Writes the transcript to this file too, as JSON.
        #[arg(long, env = "TRANSCRIPT")]
        transcript: Option<PathBuf>,

        /// When `make` began, in seconds since 1970: what it did before counts too.
        #[arg(long, env = "DEMO_STARTED")]
        started: Option<u64>,
    },

    /// Remove every trace.
    Down,

    /// Print the path of the running demo's kubeconfig.
    Kubeconfig,

    /// Build the images of an installation, push them, and print the command that installs them.
    Images {
        /// Where to push them, such as registry.example/you.
        #[arg(long, env = "REGISTRY")]
        registry: String,
    },

    /// Serve the loopback ports; the demo runs this in the background.
    #[command(hide = true)]
    Forward {
        /// This machine has a route to the Pods.
        #[arg(long)]
        direct: bool,
    },
}

fn kind(text: &str) -> Result<Kind, String> {
    text.parse()
        .map_err(|error: behalf_local_cluster::cluster::ClusterError| error.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    let cli = Cli::parse();
    let layout = Layout::demo();
    let folder = files::cache().join("demo");
    let progress = Progress::new(say);
    let done = match cli.command {
        Action::Up { transcript, started } => {
            let progress = progress.after(since(started));
            up(&layout, cli.cluster, &folder, transcript, &progress).await
        }
        Action::Down => behalf_demo::down(&layout, cli.cluster, &folder, &progress),
        Action::Kubeconfig => {
            behalf_demo::kubeconfig(&layout, &folder).map(|path| say(&path.display().to_string()))
        }
        // Only the command goes to standard output, so that a script can use it.
        Action::Images { registry } => {
            behalf_demo::publish(&registry, &Progress::new(say_aside)).map(|command| say(&command))
        }
        Action::Forward { direct } => {
            let way = if direct { Way::Direct } else { Way::PortForward };
            serve(&layout, way).await
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_aside(&format!("make demo: {}", error_chain(&error)));
            ExitCode::FAILURE
        }
    }
}

async fn up(
    layout: &Layout,
    kind: Option<Kind>,
    folder: &std::path::Path,
    transcript: Option<PathBuf>,
    progress: &Progress,
) -> Result<(), DemoError> {
    let (cluster, played) = behalf_demo::up(layout, kind, folder, progress).await?;
    if let Some(path) = transcript {
        let text = serde_json::to_string_pretty(&played).unwrap_or_default();
        std::fs::write(&path, text).map_err(|source| DemoError::File {
            action: "write",
            path,
            source,
        })?;
    }
    progress.line(&format!("done in {}; the demo keeps running", progress.total()));
    progress.plain(&behalf_demo::next_steps(layout, &cluster));
    Ok(())
}

/// The time since this moment. Zero if the clock was set back.
fn since(started: Option<u64>) -> Duration {
    let now = UNIX_EPOCH.elapsed().unwrap_or_default();
    started.map_or(Duration::ZERO, |started| {
        now.saturating_sub(Duration::from_secs(started))
    })
}

async fn serve(layout: &Layout, way: Way) -> Result<(), DemoError> {
    let client = behalf_demo::kube_client(None).await?;
    Ok(forward::serve(client, way, layout.forwards(), None).await?)
}

/// Prints a line. A closed standard output does not end the program half-way.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// Prints a line to the standard error, where it does not mix with a result.
fn say_aside(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}
