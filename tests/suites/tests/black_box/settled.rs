//! Tests that the operator writes nothing while no object and no setting changes.

use std::time::Duration;

use behalf_demo::environment::{Conditions, NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server};
use behalf_demo::mcp_client::Era;
use behalf_simulators::people::ANA;
use behalf_tests::limits::restoring_within;
use behalf_tests::published_crds;
use behalf_tests::writes::Look;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ensure;
use crate::scratch_server;
use crate::world::{TestResult, World};

crate::tests![NoWrites: [a_settled_system_writes_nothing]];

/// Number of times that each object is reconciled at least while nothing may be written.
const RECONCILES: usize = 10;

/// Time between two changes that trigger a reconcile. The operator reconciles a settled object every 30 s by itself.
const PAUSE: Duration = Duration::from_secs(11);

async fn a_settled_system_writes_nothing(world: &World) -> TestResult {
    let crd = published_crds::http_route_crd()?.display().to_string();
    let work = async {
        others_write(world, &crd).await?;
        for server in Server::ALL {
            // Traffic runs meanwhile. The first sign-in after a restart changes the condition, so it happens before.
            use_server(world, server).await?;
            let signed_in = |now: &Conditions| now.is("Ready", "True") && now.is("UserSignIn", "True");
            world.wait(server, "Ready and UserSignIn=True", signed_in).await?;
        }
        // A condition that just became true may still cause an event.
        tokio::time::sleep(Duration::from_secs(15)).await;
        let before = look(world)?;
        let began = Instant::now();
        // One more, because two changes may be one reconcile.
        for round in 0..=RECONCILES {
            change_replica_sets(world, &round.to_string())?;
            tokio::time::sleep(PAUSE).await;
        }
        let after = look(world)?;
        each_was_reconciled(world, began.elapsed())?;
        let writes = before.writes_until(&after);
        ensure!(
            writes.is_empty(),
            "the operator wrote:\n{}\nbefore:\n{before:#?}",
            writes.join("\n")
        );
        the_writes_of_others_stay(world)
    };
    restoring_within(LIMIT, work, undo(world, &crd)).await
}

/// Maximum duration of the whole test without what it undoes.
const LIMIT: Duration = Duration::from_mins(5);

/// The object that others change, with every optional child but the route.
const CHANGED: Server = Server::Article;

/// A suspended object with a route.
const ROUTED: &str = "scratch";

/// An annotation as a webhook adds it, and its value.
const ANNOTATION: (&str, &str) = ("webhook.example/seen", "yes");

/// The children that get it.
const ANNOTATED: [&str; 5] = [
    "deployment",
    "service",
    "serviceaccount",
    "networkpolicy",
    "poddisruptionbudget",
];

/// Writes as an autoscaler, webhooks and a gateway do. The operator must leave all of it alone.
async fn others_write(world: &World, crd: &str) -> TestResult {
    let name = CHANGED.name();
    world.kubectl(&["scale", "mcpserver", name, "--replicas=3"])?;
    let (key, value) = ANNOTATION;
    for kind in ANNOTATED {
        world.kubectl(&["annotate", "--overwrite", kind, name, &format!("{key}={value}")])?;
    }
    annotate_template(world, &json!({key: value}))?;

    world
        .running
        .cluster
        .kubectl(&["apply", "--server-side", "--filename", crd])?;
    let fields = json!({
        "suspend": true,
        "route": {"gateway": {"parentRefs": [{"name": "public"}]}},
        "server": world.get("mcpserver", Server::Quickstart.name())?["spec"]["server"],
    });
    world.apply(&scratch_server::object(
        world,
        "https://settled.contoso.example",
        &fields,
    )?)?;
    let pending = |now: &Conditions| {
        now.get("RouteReady")
            .is_some_and(|route| route.reason == "RoutePending")
    };
    scratch_server::wait(world, "RouteReady (RoutePending)", pending).await?;
    world.kubectl(&[
        "annotate",
        "--overwrite",
        ROUTE,
        ROUTED,
        &format!("{key}={value}"),
    ])?;

    world.kubectl(&[
        "rollout",
        "status",
        &format!("deployment/{name}"),
        "--timeout=120s",
    ])?;
    world.wait_settled(CHANGED).await?;
    Ok(())
}

/// Annotates the `ReplicaSets` of all objects. The operator never writes these, and reconciles their objects when they change.
fn change_replica_sets(world: &World, value: &str) -> TestResult {
    let annotation = format!("{}={value}", ANNOTATION.0);
    world.kubectl(&[
        "annotate",
        "--overwrite",
        "replicaset",
        "--selector",
        OURS,
        &annotation,
    ])?;
    Ok(())
}

/// Selects what belongs to any object.
const OURS: &str = "behalf.dev/mcp-server";

/// Fails unless the operator's log of the last time has a line for each of the reconciles.
fn each_was_reconciled(world: &World, since: Duration) -> TestResult {
    let log = world.running.cluster.kubectl(&[
        "logs",
        "--namespace",
        NAMESPACE_OPERATOR,
        "--selector",
        "app.kubernetes.io/name=behalf-operator",
        "--tail=-1",
        &format!("--since={}s", since.as_secs()),
    ])?;
    for name in Server::ALL.map(Server::name).into_iter().chain([ROUTED]) {
        let count = log
            .matches(&format!("Read what {NAMESPACE_SERVERS}/{name} depends on"))
            .count();
        ensure!(
            count >= RECONCILES,
            "{name} was reconciled {count} times in which nothing was written"
        );
        println!("    {name}: nothing was written in {count} reconciles");
    }
    Ok(())
}

const ROUTE: &str = "httproutes.gateway.networking.k8s.io";

/// Fails if the operator removed what others wrote.
fn the_writes_of_others_stay(world: &World) -> TestResult {
    let (name, (key, value)) = (CHANGED.name(), ANNOTATION);
    let objects = ANNOTATED
        .map(|kind| (kind, name))
        .into_iter()
        .chain([(ROUTE, ROUTED)]);
    for (kind, name) in objects {
        let object = world.get(kind, name)?;
        ensure!(
            object["metadata"]["annotations"][key] == value,
            "{kind} {name} lost the annotation: {}",
            object["metadata"]["annotations"]
        );
    }
    let deployment = world.get("deployment", name)?;
    ensure!(
        deployment["spec"]["template"]["metadata"]["annotations"][key] == value,
        "the Pod template lost the annotation"
    );
    ensure!(
        deployment["spec"]["replicas"] == 3 && deployment["status"]["readyReplicas"] == 3,
        "there are not three Pods: {}",
        deployment["status"]
    );
    Ok(())
}

async fn undo(world: &World, crd: &str) -> TestResult {
    world.kubectl(&["delete", "mcpserver", ROUTED, "--ignore-not-found", "--wait=true"])?;
    scratch_server::leaves_nothing(world, NAMESPACE_SERVERS, ROUTED).await?;
    world
        .running
        .cluster
        .kubectl(&["delete", "--filename", crd, "--ignore-not-found", "--wait=true"])?;
    let name = CHANGED.name();
    let remove = format!("{}-", ANNOTATION.0);
    for kind in ANNOTATED {
        world.kubectl(&["annotate", kind, name, &remove])?;
    }
    world.kubectl(&["annotate", "replicaset", "--selector", OURS, &remove])?;
    annotate_template(world, &json!({ANNOTATION.0: null}))?;
    world.kubectl(&["scale", "mcpserver", name, "--replicas=2"])?;
    world.wait_settled(CHANGED).await?;
    Ok(())
}

/// Changes the annotations of the Pod template.
fn annotate_template(world: &World, annotations: &Value) -> TestResult {
    let template = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}).to_string();
    let name = CHANGED.name();
    world.kubectl(&["patch", "deployment", name, "--type=merge", "--patch", &template])?;
    Ok(())
}

/// Signs Ana in and calls a tool. The tests of traffic count calls of `list_pipeline_runs`, so it calls another one.
async fn use_server(world: &World, server: Server) -> TestResult {
    let connection = world.connect(server, &ANA, Era::Modern).await?;
    let result = connection
        .call("list_deployments", json!({"project": "shop"}))
        .await;
    connection.close().await;
    ensure!(result?.is_error != Some(true), "{} refused a call", server.name());
    Ok(())
}

/// Reads the version of each object that the operator may write, in the namespaces of the servers and of the operator
/// itself, and the API server's metrics. Of the events, only those of the operator count.
fn look(world: &World) -> TestResult<Look> {
    const KINDS: &str = "mcpservers,deployments,services,configmaps,networkpolicies,poddisruptionbudgets,serviceaccounts,secrets,events,leases,httproutes.gateway.networking.k8s.io";
    const COLUMNS: &str = "jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion} {.reportingComponent}{\"\\n\"}{end}";
    let mut versions = Vec::new();
    for namespace in [NAMESPACE_SERVERS, NAMESPACE_OPERATOR] {
        let arguments = ["--namespace", namespace, "get", KINDS, "--output", COLUMNS];
        let text = world.running.cluster.kubectl(&arguments)?;
        let written = text
            .lines()
            .filter(|line| !line.starts_with("Event/") || line.contains(" behalf"))
            // The operator renews its Lease every two seconds.
            .filter(|line| !line.starts_with("Lease/behalf-operator="));
        versions.extend(written.map(|line| format!("{namespace}/{line}")));
    }
    let lists = |part: &str| versions.iter().any(|line| line.contains(part));
    ensure!(
        Server::ALL
            .iter()
            .all(|server| lists(&format!("McpServer/{}=", server.name())))
            && lists("/Event/")
            && lists("/HTTPRoute/"),
        "the list lacks an McpServer, the HTTPRoute or all events of the operator: {versions:?}"
    );
    let metrics = world.running.cluster.kubectl(&["get", "--raw", "/metrics"])?;
    Ok(Look::new(versions, &metrics)?)
}
