//! The node of the operator that leads is drained: the other one takes the Lease and goes on.

use std::time::{Duration, Instant};

use behalf_demo::environment::{Conditions, NAMESPACE_OPERATOR, Server, wait_available};
use behalf_tests::limits::restoring;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinHandle;

use crate::api_server::transition;
use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![a_drained_node_moves_the_lease_within_20_seconds_and_reconciles_go_on];

const OPERATOR: &str = "behalf-operator";

/// Maximum time from the beginning of the drain until another operator has the Lease, and until it has reconciled.
const MOVED: Duration = Duration::from_secs(20);

/// Maximum time until both operators run again.
const LIMIT: Duration = Duration::from_mins(2);

/// Time between two looks at the Lease.
const PAUSE: Duration = Duration::from_millis(100);

async fn a_drained_node_moves_the_lease_within_20_seconds_and_reconciles_go_on(world: &World) -> TestResult {
    let client = &world.running.client;
    wait_available(client, NAMESPACE_OPERATOR, OPERATOR, LIMIT).await?;
    let server = Server::Quickstart;
    let before = transition(&world.wait_settled(server).await?);
    let leader = Leader::find(client).await?;
    println!("    {} leads on {}", leader.pod, leader.node);
    let kubectl = |arguments: &[&str]| world.running.cluster.kubectl(arguments);

    let work = async {
        let began = Instant::now();
        let moved = next_holder(client.clone(), leader.pod.clone(), began);
        // kubectl ends when the Pod has. Only operators of this installation have the hash.
        let selector = format!(
            "--pod-selector=app.kubernetes.io/name={OPERATOR},pod-template-hash={}",
            leader.template
        );
        let drain = [
            "drain",
            &leader.node,
            &selector,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
        ];
        kubectl(&[&drain[..], &["--timeout=100s"]].concat())?;
        let drained = began.elapsed();
        let (holder, took) = moved.await??;
        println!(
            "    {holder} had the Lease after {:.1} s, the drain took {:.1} s",
            took.as_secs_f32(),
            drained.as_secs_f32()
        );
        ensure!(took < MOVED, "the Lease moved after {took:?}");

        let request = format!("after-{}", leader.pod);
        let annotation = format!("behalf.dev/reconcile-at={request}");
        world.kubectl(&["annotate", "mcpserver", server.name(), "--overwrite", &annotation])?;
        let asked = Instant::now();
        let handled = |now: &Conditions| now.status["lastHandledReconcileAt"] == *request;
        world.wait(server, "the requested reconcile", handled).await?;
        let took = asked.elapsed();
        println!("    it reconciled {:.1} s after the request", took.as_secs_f32());
        ensure!(took < MOVED, "the new leader reconciled after {took:?}");
        let left = pods_on(client, &leader).await?;
        ensure!(left.is_empty(), "the drained node still has {left:?}");
        Ok(())
    };
    let restore = async {
        kubectl(&["uncordon", &leader.node])?;
        Ok(wait_available(client, NAMESPACE_OPERATOR, OPERATOR, LIMIT).await?)
    };
    restoring(work, restore).await?;
    let after = world.wait_settled(server).await?;
    ensure!(
        transition(&after) == before,
        "{} was not Ready for a while: {}",
        server.name(),
        after.summary()
    );
    Ok(())
}

/// The Pod that holds the Lease.
struct Leader {
    pod: String,
    node: String,

    /// The hash of its Pod template.
    template: String,
}

impl Leader {
    async fn find(client: &Client) -> TestResult<Self> {
        let pod = holder(client).await?.ok_or("no operator holds the Lease")?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE_OPERATOR);
        let found = pods.get(&pod).await?;
        let template = found.labels().get("pod-template-hash").cloned();
        let node = found.spec.and_then(|spec| spec.node_name);
        Ok(Self {
            node: node.ok_or_else(|| format!("{pod} is on no node"))?,
            template: template.ok_or_else(|| format!("{pod} is of no Deployment"))?,
            pod,
        })
    }
}

/// The Pod that the Lease names.
async fn holder(client: &Client) -> TestResult<Option<String>> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE_OPERATOR);
    let holder = leases
        .get(OPERATOR)
        .await?
        .spec
        .and_then(|spec| spec.holder_identity);
    Ok(holder.filter(|holder| !holder.is_empty()))
}

/// Waits in the background until another Pod holds the Lease. Returns its name, and how long that took.
fn next_holder(client: Client, before: String, began: Instant) -> JoinHandle<TestResult<(String, Duration)>> {
    tokio::spawn(async move {
        loop {
            if let Some(now) = holder(&client).await?.filter(|now| *now != before) {
                return Ok((now, began.elapsed()));
            }
            ensure!(began.elapsed() < LIMIT, "no other operator takes the Lease");
            tokio::time::sleep(PAUSE).await;
        }
    })
}

/// The operators that are on the node of the former leader.
async fn pods_on(client: &Client, leader: &Leader) -> TestResult<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE_OPERATOR);
    let on_node = ListParams::default()
        .labels(&format!("app.kubernetes.io/name={OPERATOR}"))
        .fields(&format!("spec.nodeName={}", leader.node));
    Ok(pods
        .list(&on_node)
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .collect())
}
