//! The spans of a call through the Pods of both servers are one trace, which the client begins and Azure DevOps gets.

use std::time::Duration;

use behalf_demo::environment::Server;
use behalf_demo::mcp_client::{call_request, http_client};
use behalf_simulators::collector::ReceivedSpan;
use behalf_simulators::people::ANA;

use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![
    Quickstart: [a_call_with_the_exchange_in_the_sidecar_is_one_trace_from_the_client_to_azure_devops],
    Article: [a_call_with_the_exchange_in_the_server_is_one_trace_from_the_client_to_azure_devops],
];

const SIDECAR: &str = "behalf-auth-sidecar";
const MCP_SERVER: &str = "behalf-mcp-server";

/// The client's span.
const CLIENT: &str = "00f067aa0ba902b7";

/// Maximum time until the spans of a call are at the collector. The programs send them once a second.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

async fn a_call_with_the_exchange_in_the_sidecar_is_one_trace_from_the_client_to_azure_devops(
    world: &World,
) -> TestResult {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    is_one_trace(world, Server::Quickstart, trace, SIDECAR).await
}

async fn a_call_with_the_exchange_in_the_server_is_one_trace_from_the_client_to_azure_devops(
    world: &World,
) -> TestResult {
    let trace = "a3ce929d0e0e47364bf92f3577b34da6";
    is_one_trace(world, Server::Article, trace, MCP_SERVER).await
}

/// Calls in this trace and follows it from parent to child. `exchanges` is the program that asks Entra for the downstream
/// token.
async fn is_one_trace(world: &World, server: Server, trace: &str, exchanges: &str) -> TestResult {
    let token = world.access_token(server, &ANA).await?;
    let context = format!("00-{trace}-{CLIENT}-01");
    let answer = call_request(&http_client(None)?, &world.layout.mcp_url(server), &token)
        .header("traceparent", context)
        .send()
        .await?;
    let status = answer.status();
    let body = answer.text().await?;
    ensure!(
        status.is_success() && body.contains(r#""isError":false"#),
        "{status}: {body:.300}"
    );
    let ours = |spans: &[ReceivedSpan]| -> Vec<ReceivedSpan> {
        let ours = spans.iter().filter(|span| span.trace_id == trace);
        ours.cloned().collect()
    };
    // The spans of one request arrive together.
    let both = |spans: &[ReceivedSpan]| {
        [SIDECAR, MCP_SERVER].iter().all(|service| {
            ours(spans)
                .iter()
                .any(|span| span.service == *service && span.name == "tools/call")
        })
    };
    let spans = tokio::time::timeout(LIMIT, world.collector()?.until(both)).await;
    let spans = ours(&spans.map_err(|_| format!("the collector got no span of both programs in {trace}"))?);

    let call = child(&spans, SIDECAR, "tools/call", CLIENT)?;
    let forward = child(&spans, SIDECAR, "server", &call.span_id)?;
    let answer = child(&spans, MCP_SERVER, "tools/call", &forward.span_id)?;
    let azure_devops = child(&spans, MCP_SERVER, "azure_devops", &answer.span_id)?;
    let parent = if exchanges == SIDECAR { call } else { answer };
    child(&spans, exchanges, "entra on_behalf_of", &parent.span_id)?;
    let expected = format!("00-{trace}-{}-01", azure_devops.span_id);
    let record = world.azure_devops.record().await?;
    ensure!(
        record
            .iter()
            .any(|call| call.traceparent.as_deref() == Some(&expected)),
        "Azure DevOps got no call with {expected}"
    );
    println!("    {}: {} spans in one trace", server.name(), spans.len());
    Ok(())
}

/// A span of this program with this name and parent.
fn child<'s>(
    spans: &'s [ReceivedSpan],
    service: &str,
    name: &str,
    parent: &str,
) -> TestResult<&'s ReceivedSpan> {
    let found = spans
        .iter()
        .find(|span| span.service == service && span.name == name && span.parent_span_id == parent);
    Ok(found.ok_or_else(|| format!("{service} has no span {name} below {parent}: {spans:#?}"))?)
}
