//! A `HorizontalPodAutoscaler` scales an `McpServer` by the numbers of metrics-server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use behalf_demo::environment::{NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server};
use behalf_demo::mcp_client::{call_with, http_client};
use behalf_simulators::people::BEN;
use futures::future::{Either, select};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use url::Url;

use crate::ensure;
use crate::metrics_server::MetricsServer;
use crate::world::{TestResult, World, example, until};

/// The object of `examples/autoscaler.yaml`. Its sessions are in Redis.
const SERVER: Server = Server::Article;

/// The number of Pods without load, as in the example.
const FEWEST: u64 = 2;

/// The number of Pods that the test lets the autoscaler make.
const MOST: u64 = 3;

/// The CPU of a Pod above which another one is made. An idle Pod needs a small part of it, the calls need several times of it.
const TARGET: &str = "50m";

/// Clients that call at the same time, and the time between two calls of one.
const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(30);

const PASSES: u64 = 10;

/// Time without a write after which the objects count as settled.
const SETTLED: Duration = Duration::from_secs(10);

pub(crate) async fn scale(world: &World) -> TestResult {
    step("metrics-server");
    let _metrics_server = MetricsServer::start(world).await?;
    until("metrics-server knows the CPU of both Pods", || {
        let measured = measured_pods(world).unwrap_or_default();
        Ok((measured == FEWEST).then_some(()))
    })
    .await?;
    let token = world.access_token(SERVER, &BEN).await?;
    world.apply(&[autoscaler()?])?;
    step("calls: it adds a Pod");
    let scaled = async {
        has_pods(world, MOST).await?;
        is_set_by_the_autoscaler(world)?;
        step("the operator writes nothing in ten passes");
        passes_write_nothing(world).await
    };
    during_calls(world, &token, scaled).await?;
    step("no calls: it removes the Pod");
    has_pods(world, FEWEST).await?;
    is_set_by_the_autoscaler(world)?;
    kubectl(world, &["delete", "hpa", SERVER.name()])?;
    Ok(())
}

fn step(what: &str) {
    println!("  autoscaler: {what}");
}

fn kubectl(world: &World, arguments: &[&str]) -> TestResult<String> {
    world.kubectl(&[&["--namespace", NAMESPACE_SERVERS], arguments].concat())
}

/// The number of the server's Pods that metrics-server knows. Fails until it answers.
fn measured_pods(world: &World) -> TestResult<u64> {
    let path = format!(
        "/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE_SERVERS}/pods?labelSelector=app.kubernetes.io/instance={}",
        SERVER.name()
    );
    let list: Value = serde_json::from_str(&world.kubectl(&["get", "--raw", &path])?)?;
    let items = list["items"].as_array().map_or(0, Vec::len);
    Ok(u64::try_from(items)?)
}

/// The example with a smaller target and shorter times.
fn autoscaler() -> TestResult<Value> {
    let mut autoscaler = example("autoscaler.yaml")?;
    let spec = &mut autoscaler["spec"];
    ensure!(
        spec["scaleTargetRef"]["name"] == SERVER.name() && spec["minReplicas"] == FEWEST,
        "the example is of another server, or has another number of Pods: {spec}"
    );
    spec["maxReplicas"] = json!(MOST);
    let target = spec.pointer_mut("/metrics/0/resource/target/averageValue");
    *target.ok_or("the example has no amount of CPU")? = json!(TARGET);
    spec["behavior"]["scaleDown"] = json!({"stabilizationWindowSeconds": 15});
    Ok(autoscaler)
}

/// Runs `work` while several clients call a tool all the time. They are tasks of their own, because `work` waits for programs.
async fn during_calls(world: &World, token: &str, work: impl Future<Output = TestResult>) -> TestResult {
    let (http, mcp) = (http_client(None)?, world.mcp_url(SERVER));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(call_all_the_time(http.clone(), mcp.clone(), token.to_owned()));
    }
    match select(Box::pin(clients.join_next()), Box::pin(work)).await {
        Either::Left((failed, _)) => failed.ok_or("nobody calls")??,
        Either::Right((worked, _)) => worked,
    }
}

/// Each call must succeed: another Pod costs no user anything.
async fn call_all_the_time(http: reqwest::Client, mcp: Url, token: String) -> TestResult {
    loop {
        let status = call_with(&http, &mcp, &token).await?.status();
        ensure!(status == StatusCode::OK, "a call was answered {status}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until the autoscaler, the object and the Deployment agree on a number of Pods, and they are available.
async fn has_pods(world: &World, wanted: u64) -> TestResult {
    let started = Instant::now();
    let mut last = String::new();
    let found = until(&format!("{wanted} Pods"), || {
        let number = |kind: &str, pointer: &str| -> TestResult<Option<u64>> {
            let object = world.get(NAMESPACE_SERVERS, kind, SERVER.name())?;
            Ok(object.pointer(pointer).and_then(Value::as_u64))
        };
        let numbers = [
            number("hpa", "/status/desiredReplicas")?,
            number("mcpserver", "/spec/replicas")?,
            number("deployment", "/spec/replicas")?,
            number("deployment", "/status/availableReplicas")?,
            number("deployment", "/status/replicas")?,
        ];
        let now = format!("desired, object, Deployment, available, all: {numbers:?}");
        if now != last {
            println!("    {now} after {} s", started.elapsed().as_secs());
            last = now;
        }
        Ok(numbers.iter().all(|number| *number == Some(wanted)).then_some(()))
    })
    .await;
    found.map_err(|error| format!("{error}; at last {last}").into())
}

/// The autoscaler alone owns `spec.replicas`: it wrote the field through the scale subresource, and nobody wrote it since.
fn is_set_by_the_autoscaler(world: &World) -> TestResult {
    let object = kubectl(
        world,
        &[
            "get",
            "mcpserver",
            SERVER.name(),
            "--show-managed-fields",
            "--output",
            "json",
        ],
    )?;
    let object: Value = serde_json::from_str(&object)?;
    let managers = object["metadata"]["managedFields"].as_array();
    let owners: Vec<&Value> = managers
        .into_iter()
        .flatten()
        .filter(|entry| entry.pointer("/fieldsV1/f:spec/f:replicas").is_some())
        .collect();
    ensure!(
        owners.len() == 1 && owners[0]["subresource"] == "scale",
        "spec.replicas belongs to {owners:?}"
    );
    Ok(())
}

/// Changes a child as a webhook does, once for each pass, and compares the versions of the object and of all other children.
async fn passes_write_nothing(world: &World) -> TestResult {
    let mut since = (versions(world)?, Instant::now());
    until("the object and its children are settled", || {
        let now = versions(world)?;
        if now != since.0 {
            since = (now, Instant::now());
        }
        Ok((since.1.elapsed() > SETTLED).then_some(()))
    })
    .await?;
    let (before, reconciles) = (since.0, reconciles(world)?);
    let service = |arguments: &[&str]| {
        let fixed = ["--output", "jsonpath={.metadata.resourceVersion}"];
        kubectl(world, &[arguments, &fixed].concat())
    };
    let mut annotated = String::new();
    for pass in 1..=PASSES {
        let note = format!("example.com/pass={pass}");
        annotated = service(&["annotate", "service", SERVER.name(), "--overwrite", &note])?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    until("ten passes", || {
        Ok((self::reconciles(world)? >= reconciles + PASSES).then_some(()))
    })
    .await?;
    let after = versions(world)?;
    ensure!(before == after, "somebody wrote: {before:#?}\nbecame\n{after:#?}");
    let now = service(&["get", "service", SERVER.name()])?;
    ensure!(
        now == annotated,
        "the operator wrote the Service that a webhook had changed: version {annotated}, then {now}"
    );
    Ok(())
}

/// The versions of the object and of its children but the Service.
fn versions(world: &World) -> TestResult<BTreeMap<String, String>> {
    const KINDS: &str = "deployments,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets";
    const COLUMNS: &str =
        "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    let selector = format!("app.kubernetes.io/instance={}", SERVER.name());
    let children = kubectl(
        world,
        &["get", KINDS, "--selector", &selector, "--output", COLUMNS],
    )?;
    let name = format!("--field-selector=metadata.name={}", SERVER.name());
    let object = kubectl(world, &["get", "mcpservers", &name, "--output", COLUMNS])?;
    let lines = children.lines().chain(object.lines());
    let versions: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(' '))
        .map(|(object, version)| (object.to_owned(), version.to_owned()))
        .collect();
    for kind in ["McpServer/", "Deployment/", "PodDisruptionBudget/"] {
        ensure!(
            versions.keys().any(|object| object.starts_with(kind)),
            "there is no {kind} among {versions:?}"
        );
    }
    Ok(versions)
}

/// The number of reconciles of all operators since their start.
fn reconciles(world: &World) -> TestResult<u64> {
    let namespace = ["--namespace", NAMESPACE_OPERATOR];
    let pods = world.kubectl(&[&namespace[..], &["get", "pods", "--output", "name"]].concat())?;
    let mut sum = 0;
    for pod in pods.lines().filter_map(|line| line.strip_prefix("pod/")) {
        let path = format!("/api/v1/namespaces/{NAMESPACE_OPERATOR}/pods/{pod}:8081/proxy/metrics");
        let metrics = world.kubectl(&["get", "--raw", &path])?;
        let counters = metrics
            .lines()
            .filter(|line| line.starts_with("behalf_operator_reconciles_total{"))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        sum += counters.sum::<u64>();
    }
    ensure!(sum > 0, "no operator counts reconciles");
    Ok(sum)
}
