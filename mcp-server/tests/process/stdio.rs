//! Tests `stdio`.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::binary::{asked, az, az_with, command, hostile};
use crate::support::World;

/// A session on standard input and output.
struct Session {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Session {
    async fn start(world: &World, path: &Path) -> Self {
        let arguments = [
            "stdio",
            "--organization",
            "contoso",
            "--project",
            "shop",
            "--log",
            "trace",
        ];
        let mut child = command(world, path, &arguments).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut session = Self { child, input, output };
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
        assert_eq!(
            session.exchange(&hello).await["result"]["serverInfo"]["name"],
            "behalf-azure-devops"
        );
        session
            .write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;
        session
    }

    async fn write(&mut self, message: &Value) {
        self.input
            .write_all(format!("{message}\n").as_bytes())
            .await
            .unwrap();
        self.input.flush().await.unwrap();
    }

    /// Every line of standard output is a message.
    async fn exchange(&mut self, message: &Value) -> Value {
        self.write(message).await;
        let line = self.output.next_line().await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a message: {line}"))
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        self.exchange(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
            .await
    }

    /// Closes standard input; gives what was logged.
    async fn end(self) -> (bool, String) {
        let Self { child, input, output } = self;
        drop((input, output));
        let ended = child.wait_with_output().await.unwrap();
        (ended.status.success(), String::from_utf8(ended.stderr).unwrap())
    }
}

#[tokio::test]
async fn stdio_fetches_one_token_from_the_azure_cli_for_all_calls() {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    let folder = az_with(&token);
    let mut session = Session::start(&world, folder.path()).await;
    for _ in 0..2 {
        let answer = session.call("list_pipeline_runs", json!({"top": 1})).await;
        assert_eq!(
            answer["result"]["structuredContent"]["runs"]
                .as_array()
                .unwrap()
                .len(),
            1,
            "{answer}"
        );
    }
    let (success, logged) = session.end().await;
    assert!(success, "{logged}");
    assert!(!logged.contains(&token));
    assert!(
        logged.contains("behalf_mcp_server"),
        "nothing was logged: {logged}"
    );
    let asked = asked(&folder);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(
        asked[0].contains("499b84ac-1321-427f-aa17-267ca6975798/.default"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn stdio_refuses_embedded_json_with_its_id_and_continues() {
    let world = World::start().await;
    let folder = az_with(&world.azure_token("ana").await);
    let mut session = Session::start(&world, folder.path()).await;
    session
        .input
        .write_all(format!("{}\n", hostile()).as_bytes())
        .await
        .unwrap();
    let ping = json!({"jsonrpc": "2.0", "id": 2, "method": "ping"});
    let refused = session.exchange(&ping).await;
    assert_eq!(
        (&refused["error"]["code"], &refused["id"]),
        (&json!(-32600), &json!(1)),
        "{refused}"
    );
    let line = session.output.next_line().await.unwrap().unwrap();
    let answered: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(answered["id"], 2, "{answered}");
    let behind_a_mark = format!("\u{feff}{}\n", hostile());
    session.input.write_all(behind_a_mark.as_bytes()).await.unwrap();
    let line = session.output.next_line().await.unwrap().unwrap();
    let refused: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&refused["error"]["code"], &refused["id"]),
        (&json!(-32600), &json!(1)),
        "{refused}"
    );
    session.end().await;
}

#[tokio::test]
async fn fetches_another_token_once_after_a_refusal() {
    let world = World::start().await;
    let folder = az_with(&world.user_token("ana").await); // not for Azure DevOps
    let mut session = Session::start(&world, folder.path()).await;
    let answer = session.call("list_pipeline_runs", json!({})).await;
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("`az login`"), "{text}");
    assert_eq!(asked(&folder).len(), 2);
    session.end().await;
}

#[tokio::test]
async fn says_what_to_do_without_the_azure_cli_or_its_login() {
    let world = World::start().await;
    for (folder, expected) in [
        (tempfile::tempdir().unwrap(), "not installed"),
        (
            az("echo \"Please run 'az login' to setup account.\" >&2; exit 1"),
            "not signed in",
        ),
        (az("echo 'nonsense'"), "returned no token"),
    ] {
        let mut session = Session::start(&world, folder.path()).await;
        let answer = session.call("list_pipeline_runs", json!({})).await;
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(expected) && text.contains("az "), "{text}");
        session.end().await;
    }
}

#[tokio::test]
async fn stdio_refuses_a_message_of_the_wrong_shape_with_its_id() {
    let world = World::start().await;
    let folder = az_with(&world.azure_token("ana").await);
    let mut session = Session::start(&world, folder.path()).await;
    for (message, code) in [
        (json!({"jsonrpc": "2.0", "id": 7, "method": 5}), -32600),
        (json!({"jsonrpc": "1.0", "id": 7, "method": "ping"}), -32600),
        (
            json!({"jsonrpc": "2.0", "id": 7, "method": "ping", "params": []}),
            -32602,
        ),
        (
            json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": 5}}),
            -32602,
        ),
    ] {
        let refused = session.exchange(&message).await;
        assert_eq!(
            (&refused["error"]["code"], &refused["id"]),
            (&json!(code), &json!(7)),
            "{refused}"
        );
    }
    session.end().await;
}
