//! `docs/installing.md`, followed from an empty cluster to the uninstall: `make test-installing`. It prints how long each step took.
//!
//! Simulators stand for Entra and Azure DevOps, images that are loaded into the nodes for a registry, a loopback port for a
//! gateway, and a Redis in a Pod for the one that the reader has.

#![expect(clippy::print_stdout, reason = "a test's output")]

mod operations;
mod reader;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use behalf_demo::environment::{Layout, NAMESPACE_SERVERS, Ports, apply_simulators};
use behalf_demo::{Progress, kube_client, load_images};
use behalf_local_cluster::cluster::{self, Cluster, Options, checkout_name};
use behalf_runtime::error_chain;
use behalf_tests::commands::{self, Block};
use behalf_tests::limits::within_limit;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use crate::reader::{Reader, TestResult};

const PAGE: &str = "docs/installing.md";

/// Maximum time from the empty cluster to the empty cluster. It ends a run that hangs.
const LIMIT: Duration = Duration::from_mins(30);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let enabled = std::env::var("BEHALF_TEST_CLUSTER").is_ok_and(|value| value == "1");
    if !enabled && !arguments.list {
        println!("SKIPPED: the page about installing needs a cluster of its own: run `make test-installing`");
    }
    let follow = || {
        let runtime = Runtime::new().map_err(|error| error.to_string())?;
        runtime
            .block_on(follow())
            .map_err(|error| error_chain(error.as_ref()))
    };
    let name = "the_page_leads_from_an_empty_cluster_through_an_upgrade_and_a_fault_to_an_empty_one";
    let test = move || {
        let followed = within_limit(LIMIT, follow);
        if followed.is_err() && !keeps_cluster() {
            // A run that was given up leaves its cluster.
            let options = options(&layout());
            drop(cluster::down(&options.name, options.kind));
        }
        followed.map_err(Failed::from)
    };
    let trial = Trial::test(name, test).with_ignored_flag(!enabled);
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

fn keeps_cluster() -> bool {
    std::env::var_os("BEHALF_KEEP_CLUSTER").is_some()
}

fn layout() -> Layout {
    Layout {
        nodes: 1,
        log_level: "Info",
        ports: Ports::beginning_at(8780),
        ..Layout::tests(checkout_name("installing"))
    }
}

fn options(layout: &Layout) -> Options {
    let mut options = Options::new(layout.cluster.clone());
    options.nodes = layout.nodes;
    options
}

async fn follow() -> TestResult {
    let layout = layout();
    let mut times = Times::default();
    let options = options(&layout);
    // An earlier run may have left its cluster.
    cluster::down(&options.name, options.kind)?;
    let cluster = cluster::up(&options)?;
    times.add("An empty cluster");
    let followed = on_cluster(&layout, &cluster, &mut times).await;
    if keeps_cluster() {
        println!("the cluster keeps running: {}", cluster.kubeconfig().display());
    } else {
        let ended = cluster.down();
        if followed.is_ok() {
            ended?;
        }
    }
    times.print();
    followed
}

async fn on_cluster(layout: &Layout, cluster: &Cluster, times: &mut Times) -> TestResult {
    let progress = Progress::new(|line| println!("{line}"));
    let images = load_images(cluster, &progress)?;
    times.add("1. Images and values");
    let client = kube_client(Some(cluster.kubeconfig())).await?;
    let authority = apply_simulators(&client, layout, &images.simulator).await?;
    times.add("3. The application in Entra (simulators)");
    let reader = Reader::new(layout, cluster, client, &images, authority)?;
    for block in commands::blocks(PAGE)? {
        reader.before(&block).await?;
        if is_run(&block)? {
            reader.run(&block)?;
        }
        reader.after(&block).await?;
        times.add(&block.title);
    }
    reader.remove_redis()?;
    reader.nothing_is_left()?;
    times.add("Nothing is left");
    Ok(())
}

/// Whether a block is run. The test itself stands for the others: it loads images into the nodes, answers for a gateway, and
/// changes the application at the simulator.
fn is_run(block: &Block) -> TestResult<bool> {
    match block.reason.as_deref() {
        None => Ok(true),
        Some("needs a registry" | "needs a gateway" | "needs the Azure CLI") => Ok(false),
        Some(other) => Err(format!(
            "{PAGE}:{}: nothing stands for what is missing: {other}",
            block.line
        )
        .into()),
    }
}

/// How long each step took.
struct Times {
    steps: Vec<(String, Duration)>,
    since: Instant,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            since: Instant::now(),
        }
    }
}

impl Times {
    /// Ends a step. Parts of one step count together.
    fn add(&mut self, step: &str) {
        let took = self.since.elapsed();
        self.since = Instant::now();
        match self.steps.iter_mut().find(|(known, _)| known == step) {
            Some((_, total)) => *total += took,
            None => self.steps.push((step.to_owned(), took)),
        }
    }

    fn print(&self) {
        println!("  seconds of each step of {PAGE} in the namespace {NAMESPACE_SERVERS}:");
        for (step, took) in &self.steps {
            println!("    {:6.1}  {step}", took.as_secs_f64());
        }
        let total: Duration = self.steps.iter().map(|(_, took)| *took).sum();
        println!("    {:6.1}  all", total.as_secs_f64());
    }
}
