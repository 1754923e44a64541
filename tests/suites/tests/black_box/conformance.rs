//! Runs the public MCP conformance suite through the Pod: both revisions, server and authorization server.

use behalf_demo::environment::Server;
use behalf_simulators::people::ANA;
use behalf_tests::conformance::{Conformance, Verdict};
use behalf_tests::header_proxy::HeaderProxy;
use behalf_tests::limits::restoring;
use serde_json::{Value, json};

use crate::ensure;
use crate::server_container::ServerContainer;
use crate::sign_in::register;
use crate::world::{TestResult, World};

crate::tests![
    Quickstart: [the_conformance_suite_passes_with_its_fixture_tools],
    Traffic: [
        the_conformance_suite_passes_at_revision_2025_11_25,
        the_conformance_suite_passes_at_revision_2026_07_28,
        the_conformance_suite_passes_for_authorization_servers,
    ],
];

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// The rule that decides whether a scenario passes.
#[derive(Clone, Copy)]
enum Judge {
    /// Failures and warnings that the baseline does not name count.
    Baseline,

    /// Only failures count: the suite warns of sessions, streams or resources that this server does not have.
    Failures,
}

async fn scenarios(world: &World, server: Server, revision: &str, scenarios: &[(&str, Judge)]) -> TestResult {
    let suite = Conformance::install()?;
    let token = world.access_token(server, &ANA).await?;
    let proxy = HeaderProxy::start(&world.layout.public_url(server), &token).await?;
    let mut problems = Vec::new();
    for (scenario, judge) in scenarios {
        let baseline = matches!(judge, Judge::Baseline);
        let verdict = suite
            .server(&proxy.url("/mcp"), scenario, revision, baseline)
            .await?;
        let told = format!("{} {scenario} at {revision}", server.name());
        println!("    {told}: {}", summary(&verdict));
        if !verdict.passed || (baseline && verdict.count("SUCCESS") == 0) {
            problems.push(format!("{told}: {}", complaint(&verdict)));
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok(())
}

fn summary(verdict: &Verdict) -> String {
    let count = |status| verdict.count(status);
    format!(
        "{} passed, {} failed, {} warnings",
        count("SUCCESS"),
        count("FAILURE"),
        count("WARNING")
    )
}

fn complaint(verdict: &Verdict) -> String {
    let failed = verdict
        .checks
        .iter()
        .filter(|check| check.status == "FAILURE" || check.status == "WARNING")
        .map(|check| {
            format!(
                "{} ({})",
                check.id,
                check.error_message.as_deref().unwrap_or("no message")
            )
        });
    let failed = failed.collect::<Vec<_>>().join(", ");
    format!("{}: {failed}; it printed: {}", summary(verdict), verdict.printed)
}

async fn the_conformance_suite_passes_at_revision_2025_11_25(world: &World) -> TestResult {
    for server in Server::ALL {
        let wanted = [
            ("server-initialize", Judge::Baseline),
            ("server-session-lifecycle", Judge::Failures),
            ("ping", Judge::Baseline),
            ("tools-list", Judge::Baseline),
            ("dns-rebinding-protection", Judge::Baseline),
            ("server-sse-multiple-streams", Judge::Failures),
        ];
        scenarios(world, server, LEGACY, &wanted).await?;
    }
    Ok(())
}

async fn the_conformance_suite_passes_at_revision_2026_07_28(world: &World) -> TestResult {
    for server in Server::ALL {
        let wanted = [
            ("server-stateless", Judge::Baseline),
            ("tools-list", Judge::Baseline),
            ("http-header-validation", Judge::Baseline),
            ("dns-rebinding-protection", Judge::Baseline),
            ("caching", Judge::Baseline),
            ("server-sse-multiple-streams", Judge::Baseline),
            ("sep-2164-resource-not-found", Judge::Failures),
        ];
        scenarios(world, server, MODERN, &wanted).await?;
    }
    Ok(())
}

async fn the_conformance_suite_passes_with_its_fixture_tools(world: &World) -> TestResult {
    let server = Server::Quickstart;
    world.wait_ready(server).await?;
    let container = ServerContainer::of(world, server).await?;
    // In this Pod, a server with the tools that the scenarios call replaces the built-in server.
    let fixture = world.fixture_server_image()?;
    restoring(
        async {
            container.run_image(&fixture).await?;
            wait_for_tool(world, server, "test_simple_text").await?;
            let wanted = [
                ("tools-call-simple-text", Judge::Baseline),
                ("tools-call-error", Judge::Baseline),
                ("tools-call-with-progress", Judge::Baseline),
            ];
            scenarios(world, server, LEGACY, &wanted).await?;
            scenarios(world, server, MODERN, &wanted).await
        },
        container.restore(),
    )
    .await
}

/// Waits until the server behind the sidecar lists this tool.
async fn wait_for_tool(world: &World, server: Server, tool: &str) -> TestResult {
    let token = world.access_token(server, &ANA).await?;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {},
    }}});
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
    for _ in 0..120 {
        let request = http
            .post(world.layout.mcp_url(server))
            .bearer_auth(&token)
            .json(&body);
        let request = request
            .header("Accept", "application/json, text/event-stream")
            .header("MCP-Protocol-Version", MODERN)
            .header("Mcp-Method", "tools/list");
        // While the container is replaced, the request fails or is answered 502.
        if let Ok(answer) = request.send().await {
            let answer: Value = answer.json().await.unwrap_or_default();
            let tools = answer["result"]["tools"].as_array();
            if tools.is_some_and(|tools| tools.iter().any(|listed| listed["name"] == tool)) {
                return Ok(());
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    Err(format!("{tool} was not listed within a minute").into())
}

async fn the_conformance_suite_passes_for_authorization_servers(world: &World) -> TestResult {
    let suite = Conformance::install()?;
    let mut problems = Vec::new();
    for server in Server::ALL {
        let (issuer, resource) = (world.layout.public_url(server), world.layout.mcp_url(server));
        let client_id = register(world, server, "http://127.0.0.1/callback").await?;
        let verdict = suite.authorization(&issuer, &resource, &client_id, &ANA).await?;
        println!("    {}: {}", server.name(), summary(&verdict));
        // Each of the two scenarios, metadata and grant, has at least one check.
        if !verdict.passed || verdict.count("SUCCESS") < 2 {
            problems.push(format!("{}: {}", server.name(), complaint(&verdict)));
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok(())
}
