//! Tests that the operator writes nothing while no object and no setting changes.

use std::time::Duration;

use behalf_demo::environment::{Conditions, NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server};
use behalf_demo::mcp_client::Era;
use behalf_simulators::people::ANA;
use behalf_tests::writes::Look;
use serde_json::json;

use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![NoWrites: [a_settled_system_writes_nothing]];

/// The operator reconciles a settled object every 30 s.
const OBSERVED: Duration = Duration::from_mins(2);

async fn a_settled_system_writes_nothing(world: &World) -> TestResult {
    for server in Server::ALL {
        // Traffic runs meanwhile. The first sign-in after a restart changes the condition, so it happens before.
        use_server(world, server).await?;
        let signed_in = |now: &Conditions| now.is("Ready", "True") && now.is("UserSignIn", "True");
        world.wait(server, "Ready and UserSignIn=True", signed_in).await?;
    }
    // A condition that just became true may still cause an event.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let before = look(world)?;
    tokio::time::sleep(OBSERVED).await;
    let after = look(world)?;
    let writes = before.writes_until(&after);
    ensure!(
        writes.is_empty(),
        "the operator wrote:\n{}\nbefore:\n{before:#?}",
        writes.join("\n")
    );
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
    const KINDS: &str = "mcpservers,deployments,services,configmaps,networkpolicies,poddisruptionbudgets,serviceaccounts,secrets,events,leases";
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
            && lists("/Event/"),
        "the list lacks an McpServer or all events of the operator: {versions:?}"
    );
    let metrics = world.running.cluster.kubectl(&["get", "--raw", "/metrics"])?;
    Ok(Look::new(versions, &metrics)?)
}
