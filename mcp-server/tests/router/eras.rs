//! Both eras of the protocol, by raw HTTP.

use behalf_contract::{ExchangePlace, Injection, Toolset};
use http::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Ask, World};

const TOOLS: [&str; 4] = [
    "list_pipeline_runs",
    "get_run_failure_logs",
    "list_deployments",
    "trigger_pipeline_run",
];

fn modern(method: &str, mut params: Value) -> Ask {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let ask = Ask::message(&json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}))
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method);
    match params["name"].as_str() {
        Some(name) => ask.header("mcp-name", name),
        None => ask,
    }
}

#[tokio::test]
async fn revision_2025_11_25_initializes_lists_and_calls() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let answer = pod.send(Ask::message(&hello)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let result = &answer.json()["result"];
    assert_eq!(result["protocolVersion"], "2025-06-18");
    assert_eq!(result["serverInfo"]["name"], "behalf-azure-devops");
    assert!(answer.headers.get("mcp-session-id").is_none());

    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let answer = pod
        .send(Ask::message(&ready).header("mcp-protocol-version", "2025-06-18"))
        .await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::ACCEPTED, ""));

    let answer = pod
        .send(Ask::request("tools/list").header("mcp-protocol-version", "2025-06-18"))
        .await;
    let tools = answer.json()["result"]["tools"].clone();
    let names: Vec<_> = tools
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, TOOLS);

    let token = world.azure_token("ana").await;
    let answer = pod.call(&token, "list_pipeline_runs", json!({"top": 1})).await;
    assert_eq!(answer.structured()["runs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn revision_2026_07_28_discovers_lists_and_calls() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let answer = pod.send(modern("server/discover", json!({}))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let versions = answer.json()["result"]["supportedVersions"].clone();
    assert!(
        versions.as_array().unwrap().contains(&json!("2026-07-28")),
        "{versions}"
    );

    let answer = pod.send(modern("tools/list", json!({}))).await;
    let result = answer.json()["result"].clone();
    assert_eq!(result["resultType"], "complete");
    assert!(
        result["ttlMs"].is_u64() && result["cacheScope"].is_string(),
        "{result}"
    );
    assert_eq!(result["tools"].as_array().unwrap().len(), TOOLS.len());

    let token = world.azure_token("ana").await;
    let call = modern(
        "tools/call",
        json!({"name": "list_pipeline_runs", "arguments": {"top": 1}}),
    );
    let answer = pod.send(call.bearer(&token)).await;
    assert_eq!(answer.structured()["runs"].as_array().unwrap().len(), 1);
    assert_eq!(answer.json()["result"]["resultType"], "complete");
}

#[tokio::test]
async fn there_are_no_streams_and_no_sessions() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        let ask = Ask {
            method: method.clone(),
            ..Ask::raw("")
        };
        assert_eq!(
            pod.send(ask).await.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{method}"
        );
    }
}

#[tokio::test]
async fn other_paths_are_not_served() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    for path in ["/", "/mcp/", "/mcp/x", "/livez"] {
        let ask = Ask {
            path,
            ..Ask::request("tools/list")
        };
        assert_eq!(pod.send(ask).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn tools_have_descriptions_and_annotations() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Argument);
    let list = pod.send(Ask::request("tools/list")).await;
    assert!(!list.text.contains("bearerToken"));
    let list = list.json();
    let tools = list["result"]["tools"].as_array().unwrap();
    // The sidecar uses this table to decide which tools require the scope mcp:run.
    let table = behalf_contract::BUILT_IN_TOOLS;
    assert_eq!(
        names(&list),
        table.map(|tool| tool.name),
        "the server offers the whole table"
    );
    for (tool, known) in tools.iter().zip(table) {
        let writes = !known.reads_only;
        assert_eq!(tool["annotations"]["readOnlyHint"], !writes, "{tool}");
        assert_eq!(tool["annotations"]["destructiveHint"], writes, "{tool}");
        assert_eq!(tool["annotations"]["openWorldHint"], true, "{tool}");
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{tool}");
        assert_eq!(tool["outputSchema"]["type"], "object", "{tool}");
        // The only project is a default, so nobody has to name it.
        assert_eq!(
            tool["inputSchema"]["properties"]["project"]["default"], "shop",
            "{tool}"
        );
        let text = tool.to_string();
        assert!(
            !text.contains("\"null\"") && !text.contains("\"format\""),
            "{text}"
        );
    }
}

/// The names in an answer to `tools/list`.
fn names(list: &Value) -> Vec<&str> {
    let tools = list["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[rstest]
#[case::pipelines(
    &[Toolset::Pipelines],
    &["list_pipeline_runs", "get_run_failure_logs", "trigger_pipeline_run"],
    "list_deployments"
)]
#[case::releases(&[Toolset::Releases], &["list_deployments"], "trigger_pipeline_run")]
#[tokio::test]
async fn the_server_offers_the_tools_of_its_toolsets_and_refuses_others(
    #[case] toolsets: &[Toolset],
    #[case] offered: &[&str],
    #[case] other: &str,
) {
    let world = World::start().await;
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        config.azure_dev_ops.toolsets = toolsets.to_vec();
    });
    let list = pod.send(Ask::request("tools/list")).await;
    assert_eq!(names(&list.json()), offered);
    let token = world.azure_token("ana").await;
    let answer = pod.call(&token, other, json!({"pipeline_id": 178})).await;
    assert_eq!(answer.json()["error"]["code"], -32602, "{answer:?}");
    assert!(world.azure().record().await.unwrap().is_empty());
}

#[tokio::test]
async fn read_only_leaves_out_tools_that_write() {
    let world = World::start().await;
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        config.azure_dev_ops.read_only = true;
    });
    let list = pod.send(Ask::request("tools/list")).await;
    assert!(!list.text.contains("trigger_pipeline_run"));
    let token = world.azure_token("ana").await;
    let answer = pod
        .call(&token, "trigger_pipeline_run", json!({"pipeline_id": 178}))
        .await;
    assert_eq!(answer.json()["error"]["code"], -32602, "{answer:?}");
    assert!(world.azure().record().await.unwrap().is_empty());
}
