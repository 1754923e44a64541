//! A system in which nothing happens: the operator writes nothing.

use std::time::Duration;

use behalf_demo::environment::{NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server};

use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![WholeCluster: [a_settled_system_writes_nothing]];

async fn a_settled_system_writes_nothing(world: &World) -> TestResult {
    for server in Server::ALL {
        world.wait_ready(server).await?;
    }
    // A condition that became true a moment ago may still bring an event.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let (versions, requests) = (versions(world)?, writes(world)?);
    tokio::time::sleep(Duration::from_mins(2)).await;
    let (versions_now, requests_now) = (self::versions(world)?, writes(world)?);
    // Events expire by themselves. An object that is new or has another version was written.
    let written: Vec<&String> = versions_now
        .iter()
        .filter(|line| !versions.contains(line))
        .collect();
    ensure!(written.is_empty(), "something was written: {written:?}");
    // A request that changes nothing leaves no trace in an object.
    ensure!(
        requests == requests_now,
        "something was asked for:\n{requests:#?}\nthen\n{requests_now:#?}"
    );
    Ok(())
}

/// The version of every object that the operator may write, in the namespaces of the servers and of the operator
/// itself, events and leases included.
fn versions(world: &World) -> TestResult<Vec<String>> {
    const KINDS: &str =
        "mcpservers,deployments,services,configmaps,networkpolicies,serviceaccounts,secrets,events,leases";
    const COLUMNS: &str =
        "jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion}{\"\\n\"}{end}";
    let mut versions = Vec::new();
    for namespace in [NAMESPACE_SERVERS, NAMESPACE_OPERATOR] {
        let arguments = ["--namespace", namespace, "get", KINDS, "--output", COLUMNS];
        let text = world.running.cluster.kubectl(&arguments)?;
        versions.extend(text.lines().map(|line| format!("{namespace}/{line}")));
    }
    ensure!(
        Server::ALL.iter().all(|server| versions
            .iter()
            .any(|line| line.contains(&format!("McpServer/{}=", server.name())))),
        "the list lacks an object: {versions:?}"
    );
    Ok(versions)
}

/// The counts of write requests that the API server answered, of those that only the operator makes: everything of
/// its own API group, every server-side apply, and every write to kinds that nobody else writes while the cluster
/// is left alone. Writes of the control plane to subresources, and its leases and events, are not among them.
fn writes(world: &World) -> TestResult<Vec<String>> {
    let text = world.running.cluster.kubectl(&["get", "--raw", "/metrics"])?;
    let requests: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total{"))
        .collect();
    let has = |line: &str, label: &str, value: &str| line.contains(&format!("{label}=\"{value}\""));
    ensure!(
        requests
            .iter()
            .any(|line| has(line, "group", "behalf.dev") && has(line, "verb", "APPLY")),
        "the API server counts no status that the operator wrote"
    );
    let reads = ["GET", "LIST", "WATCH"];
    let children = [
        "services",
        "configmaps",
        "networkpolicies",
        "serviceaccounts",
        "secrets",
        "deployments",
    ];
    let counts = requests.into_iter().filter(|line| {
        let is_read = reads.iter().any(|verb| has(line, "verb", verb));
        let is_child =
            children.iter().any(|resource| has(line, "resource", resource)) && has(line, "subresource", "");
        !is_read && (has(line, "group", "behalf.dev") || has(line, "verb", "APPLY") || is_child)
    });
    Ok(counts.map(str::to_owned).collect())
}
