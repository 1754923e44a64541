//! `behalf-bench-operator`: measures the operator with hundreds of objects. `make bench-operator` runs it.

mod audit;
mod children;
mod error;
mod objects;
mod operator;
mod pods;
mod results;
mod surroundings;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use audit::{Mark, OPERATOR, Requests};
use behalf_local_cluster::control_plane::ControlPlane;
use behalf_local_cluster::{Progress, Report, files};
use children::Children;
use clap::Parser;
use error::{BenchError, Step as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use objects::{NAMESPACE, OPERATOR_NAMESPACE, Objects, create_references};
use operator::Operator;
use pods::Pods;
use results::{Others, Results};
use surroundings::Moment;
use tokio::time::Instant;

/// Measures the operator with hundreds of objects on a control plane without nodes.
#[derive(Parser)]
#[command(name = "behalf-bench-operator", version, about)]
struct Cli {
    /// Number of objects.
    #[arg(long, default_value_t = 500)]
    objects: usize,

    /// Duration of the time in which nothing may change, in seconds.
    #[arg(long, default_value_t = 600)]
    settled: u64,

    /// Number of edits whose way to the Deployment is measured.
    #[arg(long, default_value_t = 20)]
    edits: usize,

    /// The operator's binary. Absent: the one beside this binary.
    #[arg(long)]
    operator: Option<PathBuf>,

    /// The file for the page. Absent: the tables are only printed.
    #[arg(long)]
    page: Option<PathBuf>,
}

/// Time after the last status for the rest of the reconciles.
const REST: Duration = Duration::from_secs(45);

/// Time between two edits.
const BETWEEN_EDITS: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let result = tokio::runtime::Runtime::new()
        .step("start tokio")
        .and_then(|runtime| runtime.block_on(run(Cli::parse())));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), BenchError> {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let binary = match &cli.operator {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .step("find this binary")?
            .with_file_name("behalf-operator"),
    };
    let (children, mut results) = measure(&cli, &binary).await?;
    let cluster = Cluster::start().await?;
    let _pods = Pods::start(cluster.client.clone()).await?;
    create_references(&cluster.client, cli.objects).await?;
    let moment = Moment::now()?;
    results.raw = children.create(&cluster.client).await?;
    results.others.raw = moment.cores_of_others()?;
    drop(cluster);
    print(&results.tables());
    if let Some(page) = &cli.page {
        std::fs::write(page, results.page()).step(format_args!("write {}", page.display()))?;
    }
    // Last: the page also shows a run that misses a bar.
    results.verdict()
}

/// Measures everything but the client that only creates. Returns the children, for that client.
async fn measure(cli: &Cli, binary: &Path) -> Result<(Children, Results), BenchError> {
    let cluster = Cluster::start().await?;
    let audit = cluster.control_plane.audit_log();
    let _pods = Pods::start(cluster.client.clone()).await?;
    create_references(&cluster.client, cli.objects).await?;
    let objects = Objects::watch(&cluster.client).await?;
    let mut operator = cluster.start_operator(binary, "behalf-operator-0")?;
    // It takes the free Lease and fills its caches.
    tokio::time::sleep(Duration::from_secs(5)).await;
    operator.check()?;

    say(&format!("create {} objects", cli.objects));
    let (mark, moment) = (Mark::now(&audit)?, Moment::now()?);
    let start = Instant::now();
    objects.create(cli.objects).await?;
    objects.all_ready(cli.objects).await?;
    let until_current = start.elapsed();
    let mut others = Others {
        current: moment.cores_of_others()?,
        ..Others::default()
    };
    let children = Children::read(&cluster.client, cli.objects).await?;
    let requests = Requests::since(&audit, mark)?;
    let cpu = operator.cpu()?;
    let (memory, _) = operator.memory()?;

    say(&format!("current after {:.1} s", until_current.as_secs_f64()));
    let mut changes = Vec::new();
    for edit in 0..cli.edits {
        // Spread over all objects.
        let number = edit * cli.objects / cli.edits.max(1);
        changes.push(objects.change(number).await?);
        tokio::time::sleep(BETWEEN_EDITS).await;
    }
    objects.all_ready(cli.objects).await?;
    tokio::time::sleep(REST).await;

    say(&format!("nothing may change for {} s", cli.settled));
    let (mark, before, moment) = (Mark::now(&audit)?, operator.cpu()?, Moment::now()?);
    let settled = Duration::from_secs(cli.settled);
    tokio::time::sleep(settled).await;
    let settled_cpu = operator.cpu()?.saturating_sub(before);
    others.settled = moment.cores_of_others()?;
    let settled_requests = Requests::since(&audit, mark)?;
    if settled_requests.writes_of_lease() == 0 {
        // Then no other number of this time can be believed.
        return Err(BenchError::new("the audit log shows no write of the Lease"));
    }
    let (_, memory_peak) = operator.memory()?;
    operator.check()?;

    say("kill the operator and start it again");
    operator.kill()?;
    let start = Instant::now();
    // A Pod that replaces another one has another name, so that it waits until the Lease has expired.
    let operator = cluster.start_operator(binary, "behalf-operator-1")?;
    objects.change(0).await?;
    let restart = start.elapsed();
    objects.all_ready(cli.objects).await?;
    let (_, peak_of_second) = operator.memory()?;
    let results = Results {
        objects: cli.objects,
        until_current,
        raw: Duration::ZERO,
        requests,
        cpu,
        memory,
        memory_peak: memory_peak.max(peak_of_second),
        changes,
        settled,
        settled_requests,
        settled_cpu,
        restart,
        others,
    };
    Ok((children, results))
}

/// A control plane with the CRD and the namespace of the objects.
struct Cluster {
    control_plane: ControlPlane,
    client: Client,
    log: tempfile::TempPath,
}

impl Cluster {
    async fn start() -> Result<Self, BenchError> {
        let progress = Progress::to(|report| {
            if let Report::Finished(step, time) = report {
                say(&format!("{step}: {:.1} s", time.as_secs_f64()));
            }
        });
        let control_plane = ControlPlane::start(&[OPERATOR], &progress).step("start a control plane")?;
        let crd = files::checkout()
            .join("crds/behalf.dev_mcpservers.yaml")
            .display()
            .to_string();
        for arguments in [
            &["apply", "--server-side", "--filename", &crd][..],
            &["create", "namespace", NAMESPACE],
            &["create", "namespace", OPERATOR_NAMESPACE],
            &["wait", "--for=condition=Established", "crd/mcpservers.behalf.dev"],
        ] {
            control_plane
                .kubectl(arguments)
                .step("prepare the control plane")?;
        }
        let kubeconfig = Kubeconfig::read_from(control_plane.admin()).step("read a kubeconfig")?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.step("read a kubeconfig")?).step("build a client")?;
        let log = tempfile::NamedTempFile::new()
            .step("create a log file")?
            .into_temp_path();
        Ok(Self {
            control_plane,
            client,
            log,
        })
    }

    fn start_operator(&self, binary: &Path, pod: &str) -> Result<Operator, BenchError> {
        Operator::start(binary, &self.control_plane.kubeconfig(OPERATOR), &self.log, pod)
    }
}

/// Tells what happens, beside the tables.
fn say(text: &str) {
    // A closed output does not fail the run.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
