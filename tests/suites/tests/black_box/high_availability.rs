//! Replicas are added and removed through the scale subresource, and sessions are in a Redis cluster. `gateway` has the tests
//! with three replicas.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use behalf_demo::environment::{NAMESPACE_SERVERS, Server};
use behalf_demo::mcp_client::call_with_token;
use behalf_simulators::people::{ANA, BEN};
use behalf_tests::limits::restoring;
use futures::future::join;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{EvictParams, ListParams};
use kube::{Api, ResourceExt as _};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::ensure;
use crate::faults::call;
use crate::redis_pods::{Address, RedisPods};
use crate::scratch_server::{self, PORT, mcp_url, serving, sign_in};
use crate::world::{TestResult, World};

crate::tests![
    Article: [
        the_scale_subresource_sets_the_number_of_pods,
        three_replicas_are_on_three_nodes_and_an_eviction_waits_until_the_pod_before_is_replaced,
    ],
    Scratch: [a_session_in_a_redis_cluster_survives_the_restart_of_the_node_that_has_it],
];

/// Maximum time until there are as many Pods as wanted.
const LIMIT: Duration = Duration::from_mins(3);

/// A `HorizontalPodAutoscaler` reads and writes the same subresource. One Pod alone has no `PodDisruptionBudget`.
async fn the_scale_subresource_sets_the_number_of_pods(world: &World) -> TestResult {
    let server = Server::Article;
    world.wait_ready(server).await?;
    let token = world.access_token(server, &BEN).await?;
    let scale = async |replicas: usize| {
        let wanted = format!("--replicas={replicas}");
        world.kubectl(&["scale", "mcpserver", server.name(), &wanted])?;
        wait_pods(world, server, replicas).await?;
        let status = call(world, server, &token).await?.status();
        ensure!(
            status == StatusCode::OK,
            "with {replicas} Pods a call was answered {status}"
        );
        Ok(())
    };
    let work = async {
        scale(3).await?;
        wait_budget(world, server, true).await?;
        scale(1).await?;
        wait_budget(world, server, false).await
    };
    restoring(work, scale(2)).await?;
    wait_budget(world, server, true).await?;
    world.wait_settled(server).await.map(drop)
}

/// Waits until the server has a `PodDisruptionBudget`, or none.
async fn wait_budget(world: &World, server: Server, wanted: bool) -> TestResult {
    let began = Instant::now();
    let get = [
        "get",
        "poddisruptionbudget",
        server.name(),
        "--ignore-not-found",
        "--output",
        "name",
    ];
    while world.kubectl(&get)?.is_empty() == wanted {
        ensure!(
            began.elapsed() < LIMIT,
            "whether there is a PodDisruptionBudget is not {wanted}"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// Waits until the scale subresource reports this number of Pods and its selector finds as many.
async fn wait_pods(world: &World, server: Server, replicas: usize) -> TestResult {
    let began = Instant::now();
    loop {
        let path = format!(
            "/apis/behalf.dev/v1alpha1/namespaces/{NAMESPACE_SERVERS}/mcpservers/{}/scale",
            server.name()
        );
        let scale: Value = serde_json::from_str(&world.kubectl(&["get", "--raw", &path])?)?;
        let selector = scale
            .pointer("/status/selector")
            .and_then(Value::as_str)
            .unwrap_or_default();
        ensure!(
            !selector.is_empty(),
            "the scale subresource has no selector: {scale}"
        );
        let pods = world.kubectl(&["get", "pods", "--selector", selector, "--output", "name"])?;
        if scale.pointer("/status/replicas") == Some(&json!(replicas)) && pods.lines().count() == replicas {
            return Ok(());
        }
        ensure!(
            began.elapsed() < LIMIT,
            "with {replicas} wanted the scale subresource said {scale}, and the Pods were {pods}"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn three_replicas_are_on_three_nodes_and_an_eviction_waits_until_the_pod_before_is_replaced(
    world: &World,
) -> TestResult {
    let server = Server::Article;
    world.wait_settled(server).await?;
    let token = world.access_token(server, &BEN).await?;
    let scale = |replicas: usize| {
        world.kubectl(&[
            "scale",
            "mcpserver",
            server.name(),
            &format!("--replicas={replicas}"),
        ])
    };
    let work = async {
        scale(3)?;
        wait_pods(world, server, 3).await?;
        let [one, other] = spread_over_three_nodes(world, server).await?;
        evict(world, &one).await?;
        let Err(refused) = evict(world, &other).await else {
            return Err("a second Pod was evicted while the first one had no replacement".into());
        };
        let refused = refused.to_string();
        println!("    the second eviction: {refused}");
        let budget = format!("The disruption budget {} needs 2 healthy pods", server.name());
        ensure!(
            refused.contains("429") && refused.contains(&budget),
            "the second eviction was refused with {refused}"
        );
        may_evict(world, server).await?;
        evict(world, &other).await?;
        may_evict(world, server).await?;
        let status = call(world, server, &token).await?.status();
        ensure!(
            status == StatusCode::OK,
            "after two evictions a call was answered {status}"
        );
        Ok(())
    };
    let restore = async {
        scale(2)?;
        wait_pods(world, server, 2).await?;
        world.wait_settled(server).await.map(drop)
    };
    restoring(work, restore).await
}

/// Waits until the budget allows an eviction, and returns two of the Pods, each of which is on a node of its own.
async fn spread_over_three_nodes(world: &World, server: Server) -> TestResult<[String; 2]> {
    may_evict(world, server).await?;
    let pods: Api<Pod> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let selector = format!("app.kubernetes.io/instance={}", server.name());
    let all = pods.list(&ListParams::default().labels(&selector)).await?.items;
    let nodes: BTreeSet<_> = all
        .iter()
        .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
        .collect();
    println!("    the Pods are on {nodes:?}");
    ensure!(
        all.len() == 3 && nodes.len() == 3,
        "{} Pods are on {nodes:?}",
        all.len()
    );
    Ok([all[0].name_any(), all[1].name_any()])
}

/// Waits until three Pods are ready and the budget allows the eviction of one.
async fn may_evict(world: &World, server: Server) -> TestResult {
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let began = Instant::now();
    loop {
        let status = budgets.get(server.name()).await?.status.unwrap_or_default();
        if status.current_healthy == 3 && status.expected_pods == 3 && status.disruptions_allowed == 1 {
            return Ok(());
        }
        ensure!(
            began.elapsed() < LIMIT,
            "the PodDisruptionBudget allows no eviction of one of three Pods: {status:?}"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Evicts a Pod as `kubectl drain` does. The error is the API server's answer with its causes.
async fn evict(world: &World, pod: &str) -> TestResult {
    let pods: Api<Pod> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    match pods.evict(pod, &EvictParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            let causes: Vec<_> = causes.map(|cause| cause.message.as_str()).collect();
            Err(format!("{} {}: {}", status.code, status.reason, causes.join("; ")).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The name of the `StatefulSet` and of the Service of the cluster.
const CLUSTER: &str = "redis-cluster";

/// Number of its nodes: primaries without replicas.
const NODES: usize = 3;

async fn a_session_in_a_redis_cluster_survives_the_restart_of_the_node_that_has_it(
    world: &World,
) -> TestResult {
    let work = async {
        let nodes = start_cluster(world).await?;
        let quickstart = world.get("mcpserver", Server::Quickstart.name())?;
        let fields = json!({"server": quickstart["spec"]["server"], "sessions": nodes.sessions("Cluster")?});
        let object = scratch_server::object(world, &format!("http://localhost:{PORT}"), &fields)?;
        serving(world, &object, async || {
            let signed_in = sign_in(world, &ANA).await?;
            let token = signed_in.manager().lock().await.get_access_token().await?;
            let status = call_with_token(&mcp_url()?, &token).await?.status();
            ensure!(
                status == StatusCode::OK,
                "before the restart a call was answered {status}"
            );
            let node = node_of_the_session(&nodes)?;
            let restarted = Cell::new(false);
            let restart = async {
                let result = nodes.restart(node).await;
                restarted.set(true);
                result
            };
            let (result, calls) = join(restart, calls_until(&restarted, &token)).await;
            result.and(calls)
        })
        .await
    };
    restoring(work, async { RedisPods::remove(world, CLUSTER) }).await
}

/// Starts nodes that know each other by name, because their certificate has names and no addresses.
async fn start_cluster(world: &World) -> TestResult<RedisPods<'_>> {
    let name = format!("--cluster-announce-hostname $(POD_NAME).{CLUSTER}.{NAMESPACE_SERVERS}.svc");
    let arguments = [
        "--cluster-enabled yes",
        "--tls-cluster yes",
        "--tls-ca-cert-file /etc/redis/tls/ca.crt",
        "--cluster-node-timeout 5000",
        "--cluster-preferred-endpoint-type hostname",
        &name,
    ];
    let nodes = RedisPods::start(world, CLUSTER, NODES, Address::All, &arguments, "+cluster|slots").await?;
    let mut addresses = Vec::new();
    for node in 0..NODES {
        addresses.push(format!("{}:6379", nodes.ip(node)?));
    }
    let mut create = vec!["--cluster-yes", "--cluster", "create"];
    create.extend(addresses.iter().map(String::as_str));
    nodes.ask(0, &create)?;
    Ok(nodes)
}

/// The node with the one session that there is.
fn node_of_the_session(nodes: &RedisPods<'_>) -> TestResult<usize> {
    let pattern = format!("behalf:{NAMESPACE_SERVERS}/{}:*:session", scratch_server::NAME);
    for node in 0..NODES {
        if !nodes.ask(node, &["KEYS", &pattern])?.trim().is_empty() {
            return Ok(node);
        }
    }
    Err("no node has a session".into())
}

/// Calls until the node has restarted and a call succeeds. A call in between may be asked to try again, and a client finds no
/// Pod for a moment when none is ready.
async fn calls_until(restarted: &Cell<bool>, token: &str) -> TestResult {
    let mcp = mcp_url()?;
    let began = Instant::now();
    loop {
        let is_last = restarted.get();
        if let Ok(answer) = call_with_token(&mcp, token).await {
            let status = answer.status();
            if is_last && status == StatusCode::OK {
                return Ok(());
            }
            ensure!(
                status == StatusCode::OK
                    || status == StatusCode::SERVICE_UNAVAILABLE
                        && answer.headers().contains_key("retry-after"),
                "a call was answered {status}: {:.300}",
                answer.text().await?
            );
        }
        ensure!(began.elapsed() < LIMIT, "no call succeeds after the restart");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
