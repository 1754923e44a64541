//! `behalf-cluster`: clusters to test and to show Behalf on, from the command line.

use std::error::Error;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use behalf_local_cluster::cluster::{self, Cluster, ClusterError, Kind, Options};
use behalf_local_cluster::{CommandError, Progress, Report};
use clap::{Args, Parser, Subcommand};

/// Clusters to test and to show Behalf on.
#[derive(Parser)]
#[command(name = "behalf-cluster", version)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Bring a cluster up, or check that it is.
    Up {
        #[command(flatten)]
        which: Which,

        /// Number of nodes of a new cluster.
        #[arg(long, default_value_t = 1)]
        nodes: u8,
    },

    /// Take a cluster down and remove every trace of it.
    Down {
        #[command(flatten)]
        which: Which,
    },

    /// Print the path of a cluster's kubeconfig.
    Kubeconfig {
        #[command(flatten)]
        which: Which,
    },

    /// Load image archives into a cluster.
    Load {
        #[command(flatten)]
        which: Which,

        /// Archives in OCI's or Docker's format.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },

    /// Run kubectl against a cluster.
    Kubectl {
        #[command(flatten)]
        which: Which,

        /// Arguments for kubectl.
        #[arg(last = true, required = true)]
        arguments: Vec<String>,
    },

    /// List the local clusters of this machine.
    List,
}

#[derive(Args)]
struct Which {
    /// The cluster's name.
    #[arg(long)]
    name: String,

    /// local, kind or current; by default kind when Docker answers, else local.
    #[arg(long, env = "CLUSTER")]
    kind: Option<Kind>,
}

impl Which {
    fn open(&self) -> Result<Cluster, ClusterError> {
        cluster::open(&self.name, cluster::choose(self.kind))
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes = std::iter::successors(error.source(), |cause| (*cause).source());
            let chain: Vec<String> = causes.map(ToString::to_string).collect();
            say(
                &mut io::stderr(),
                &format!("error: {}", [vec![error.to_string()], chain].concat().join(": ")),
            );
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<(), ClusterError> {
    match action {
        Action::Up { which, nodes } => {
            let progress = Progress::to(|report| {
                let (time, step, more) = match report {
                    Report::Started(_) => return,
                    Report::Running(step, time) => (time, step, " goes on"),
                    Report::Finished(step, time) => (time, step, ""),
                };
                let line = format!("{:6.1} s  {step}{more}", time.as_secs_f64());
                say(&mut io::stderr(), &line);
            });
            let kind = cluster::choose(which.kind);
            let cluster = cluster::up(&Options {
                name: which.name,
                kind,
                nodes,
                progress,
            })?;
            print(&format!("export KUBECONFIG={}", cluster.kubeconfig().display()));
        }
        Action::Down { which } => cluster::down(&which.name, cluster::choose(which.kind))?,
        Action::Kubeconfig { which } => print(&which.open()?.kubeconfig().display().to_string()),
        Action::Load { which, archives } => which.open()?.load_archives(&archives)?,
        Action::Kubectl { which, arguments } => {
            let cluster = which.open()?;
            // `exec` replaces this process, so kubectl gets the terminal and the signals directly.
            let program = cluster.clients().kubectl();
            let source = Command::new(program)
                .arg("--kubeconfig")
                .arg(cluster.kubeconfig())
                .args(arguments)
                .exec();
            let program = program.display().to_string();
            return Err(CommandError::Start { program, source }.into());
        }
        Action::List => cluster::list()?.iter().for_each(|cluster| print(&line(cluster))),
    }
    Ok(())
}

fn line(cluster: &Cluster) -> String {
    let health = if cluster.is_healthy() { "healthy" } else { "dead" };
    format!(
        "{:<32}  {health:<7}  {}",
        cluster.name(),
        cluster.kubeconfig().display()
    )
}

fn print(text: &str) {
    say(&mut io::stdout(), text);
}

/// A reader that closed the pipe does not want to read on.
fn say(output: &mut impl Write, text: &str) {
    drop(writeln!(output, "{text}"));
}
