//! The local cluster does what Behalf needs of Kubernetes, and leaves nothing behind.
//!
//! Opt-in, because it takes root and a minute: `BEHALF_TEST_CLUSTER=1 cargo test -p behalf-local-cluster
//! --test local_cluster`.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod pods;
mod support;
mod traces;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use behalf_local_cluster::cluster::{self, Cluster, Kind, Options};
use behalf_local_cluster::images::{self, Product};
use behalf_local_cluster::{Progress, Report};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

use self::support::{NAMESPACE, create_namespace, eventually, say};
use self::traces::{leaves_nothing_behind, processes, state};

const CLI: &str = env!("CARGO_BIN_EXE_behalf-cluster");

/// Takes the cluster down even when the test fails.
struct Guard(String);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = cluster::down(&self.0, Kind::Local);
    }
}

fn up(name: &str, nodes: u8) -> (Guard, Cluster) {
    let label = name.to_owned();
    let progress = Progress::to(move |report| {
        if let Report::Finished(step, took) = report {
            say(&format!("{:6.1} s  {label}: {step}", took.as_secs_f64()));
        }
    });
    let guard = Guard(name.to_owned());
    let options = Options {
        name: name.to_owned(),
        kind: Kind::Local,
        nodes,
        progress,
    };
    (guard, cluster::up(&options).unwrap())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let enabled = std::env::var("BEHALF_TEST_CLUSTER").is_ok_and(|value| value == "1");
    if !enabled && !arguments.list {
        say("SKIPPED: local_cluster: set BEHALF_TEST_CLUSTER=1 to start real clusters; needs root on Linux");
    }
    // The test is marked as ignored, so that the summary does not count it as run.
    let test = Trial::test("local_clusters_run_pods_and_leave_nothing_behind", || {
        local_clusters_run_pods_and_leave_nothing_behind();
        Ok(())
    });
    libtest_mimic::run(&arguments, vec![test.with_ignored_flag(!enabled)]).exit_code()
}

fn local_clusters_run_pods_and_leave_nothing_behind() {
    let (first_name, second_name) = (
        cluster::checkout_name("check"),
        cluster::checkout_name("check-two"),
    );
    let (_first_guard, first) = up(&first_name, 1);
    let (_second_guard, second) = up(&second_name, 2);
    assert_ne!(first.host_address(), second.host_address());
    let names: Vec<_> = cluster::list()
        .unwrap()
        .iter()
        .map(|one| one.name().to_owned())
        .collect();
    assert!(
        names.contains(&first_name) && names.contains(&second_name),
        "{names:?}"
    );

    let debug = images::debug(&Progress::default()).unwrap();
    let program = images::build(Product::Simulator, Path::new(CLI), &Progress::default()).unwrap();
    first.load(&[debug.clone(), program.clone()]).unwrap();
    second.load(std::slice::from_ref(&debug)).unwrap();

    create_namespace(&first);
    pods::restricted_pod_with_sidecar(&first, &first.image_reference(&debug));
    pods::token_has_its_audience(&first);
    pods::names_and_addresses_are_reachable(&first);
    pods::the_machine_is_reachable(&first);
    pods::logs_and_port_forward(&first);
    pods::own_binary_runs_on_the_base(&first, &first.image_reference(&program));
    signing_keys_are_public(&first);
    helm_talks_to_it(&first);
    current_kind_finds_it(&first, &debug.archive);

    pods::pods_of_two_nodes_reach_each_other(&second, &second.image_reference(&debug));

    an_outage_can_be_made(&first);
    up_is_idempotent_and_replaces_the_dead(&first);

    for cluster in [first, second] {
        leaves_nothing_behind(cluster);
    }
}

fn signing_keys_are_public(cluster: &Cluster) {
    let keys: Value =
        serde_json::from_str(&cluster.kubectl(&["get", "--raw", "/openid/v1/jwks"]).unwrap()).unwrap();
    assert_eq!(keys["keys"][0]["alg"], "RS256");
}

fn helm_talks_to_it(cluster: &Cluster) {
    assert_eq!(cluster.helm(&["list", "-A", "-o", "json"]).unwrap().trim(), "[]");
}

/// As a user with a kubeconfig would, with the cluster's own.
fn current_kind_finds_it(cluster: &Cluster, archive: &Path) {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(CLI);
        command
            .env("KUBECONFIG", cluster.kubeconfig())
            .env_remove("REGISTRY")
            .args(arguments);
        command.output().unwrap()
    };
    let up = run(&["up", "--name", "whatever", "--kind", "current"]);
    assert!(up.status.success(), "{up:?}");
    let load = run(&[
        "load",
        "--name",
        "whatever",
        "--kind",
        "current",
        archive.to_str().unwrap(),
    ]);
    assert!(load.status.success(), "{load:?}");
}

fn an_outage_can_be_made(cluster: &Cluster) {
    let answers = || {
        cluster
            .kubectl(&["get", "--raw=/readyz", "--request-timeout=1s"])
            .is_ok()
    };
    cluster.pause("kube-apiserver").unwrap();
    assert!(!answers());
    cluster.resume("kube-apiserver").unwrap();
    eventually("the API server goes on", answers);
    cluster.restart("kube-scheduler").unwrap();
    assert!(cluster.pause("no-such-component").is_err());
}

fn up_is_idempotent_and_replaces_the_dead(cluster: &Cluster) {
    let start = Instant::now();
    let (guard, _) = up(cluster.name(), 1);
    std::mem::forget(guard);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(cluster.kubectl(&["get", "namespace", NAMESPACE]).is_ok());

    let directory = state(cluster);
    let holder = processes(&directory)
        .into_iter()
        .find(|(_, line)| line.starts_with("unshare"))
        .unwrap();
    assert!(
        Command::new("kill")
            .args(["-9", &holder.0])
            .status()
            .unwrap()
            .success()
    );
    eventually("the cluster is dead", || !cluster.is_healthy());
    let (guard, again) = up(cluster.name(), 1);
    std::mem::forget(guard);
    assert!(again.is_healthy());
    assert!(again.kubectl(&["get", "namespace", NAMESPACE]).is_err());
}
