//! Tests that the log contains no text that clients choose: it may be long, false, secret, or aimed at
//! readers of the log.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::binary::{az_with, client, command, stop};
use crate::support::World;

#[tokio::test]
async fn the_log_contains_no_text_of_a_client_at_any_level() {
    const PLANTED: &str = "planted-by-a-client";
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    let folder = az_with(&token);
    let arguments = [
        "http",
        "--organization",
        "contoso",
        "--listen",
        "127.0.0.1:0",
        "--log",
        "trace",
    ];
    let mut child = command(&world, folder.path(), &arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some((_, rest)) = line.split_once(" at http://") {
            break format!("http://{}", rest.split(' ').next().unwrap());
        }
    };
    let logged = tokio::spawn(async move {
        let mut text = String::new();
        while let Ok(Some(line)) = lines.next_line().await {
            text += &line;
        }
        text
    });
    let long = PLANTED.repeat(5_000);
    let http = client();
    let post = |body: Value, header: (&'static str, &'static str)| {
        let request = http
            .post(&address)
            .header("accept", "application/json, text/event-stream")
            .header(header.0, header.1)
            .json(&body);
        async move { request.send().await.unwrap().status() }
    };
    let plain = ("x-nothing", "1");
    for body in [
        json!({"jsonrpc": "2.0", "id": PLANTED, "method": long, "params": {PLANTED: PLANTED}}),
        json!({"jsonrpc": "2.0", "method": long, "params": {PLANTED: PLANTED}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": PLANTED, "arguments": {PLANTED: 1}}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_pipeline_runs", "arguments": {PLANTED: 1}}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": PLANTED, "capabilities": {},
            "clientInfo": {"name": PLANTED, "version": PLANTED}}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": PLANTED}}),
        json!({PLANTED: PLANTED}),
    ] {
        post(body, plain).await;
    }
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    for header in [
        ("origin", "https://planted-by-a-client.example"),
        ("host", "planted-by-a-client.example"),
        ("mcp-protocol-version", PLANTED),
        ("mcp-session-id", PLANTED),
        ("mcp-method", PLANTED),
    ] {
        post(list.clone(), header).await;
    }
    stop(&child);
    assert!(child.wait().await.unwrap().success());
    let text = logged.await.unwrap();
    let at = text.find(PLANTED);
    assert_eq!(
        at,
        None,
        "{:.300}",
        &text[at.unwrap_or_default().saturating_sub(200)..]
    );
}
