//! Tests `http`, the HTTP mode of a laptop.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::binary::{az_with, client, command, first_line, hostile, stop};
use crate::connections::{connect, send_in_two_writes, send_large_body};
use crate::support::World;

/// A running server in HTTP mode.
struct LaptopProcess {
    child: Child,
    /// The URL of its MCP endpoint.
    url: String,
    _folder: tempfile::TempDir,
}

impl LaptopProcess {
    async fn start(world: &World) -> Self {
        let folder = az_with(&world.azure_token("ana").await);
        let arguments = [
            "http",
            "--organization",
            "contoso",
            "--project",
            "shop",
            "--listen",
            "127.0.0.1:0",
        ];
        let mut child = command(world, folder.path(), &arguments).spawn().unwrap();
        let logged = first_line(BufReader::new(child.stderr.take().unwrap()).lines(), "at http://").await;
        let (_, url) = logged.split_once("at ").unwrap();
        let (url, _) = url.split_once(' ').unwrap();
        Self {
            url: url.to_owned(),
            child,
            _folder: folder,
        }
    }

    /// The address of its port.
    fn address(&self) -> &str {
        self.url
            .strip_prefix("http://")
            .and_then(|rest| rest.strip_suffix("/mcp"))
            .unwrap()
    }
}

#[tokio::test]
async fn http_serves_only_this_machine() {
    let world = World::start().await;
    let folder = az_with(&world.azure_token("ana").await);
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:3000"] {
        let arguments = ["http", "--organization", "contoso", "--listen", address];
        let ended = command(&world, folder.path(), &arguments).output().await.unwrap();
        let logged = String::from_utf8(ended.stderr).unwrap();
        assert!(
            !ended.status.success() && logged.contains("no open mode"),
            "{address}: {logged}"
        );
    }

    let LaptopProcess {
        mut child,
        url: address,
        _folder,
    } = LaptopProcess::start(&world).await;
    let http = client();
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let post = |origin: Option<&str>, host: Option<&str>| {
        let mut request = http
            .post(&address)
            .header("accept", "application/json, text/event-stream")
            .json(&list);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        if let Some(host) = host {
            request = request.header("host", host);
        }
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(post(None, None).await, 200);
    assert_eq!(post(Some("http://localhost:6274"), None).await, 200);
    assert_eq!(post(Some("https://evil.example"), None).await, 403);
    assert_eq!(post(None, Some("evil.example")).await, 403);
    for body in [
        hostile(),
        "{".to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":5}"#.to_owned(),
    ] {
        let request = http
            .post(&address)
            .header("content-type", "application/json")
            .body(body);
        let answer = request
            .header("accept", "application/json, text/event-stream")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400);
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert!(answer["error"]["code"].is_i64(), "{answer}");
    }
    for (content_type, accept, status) in [
        ("text/plain", "application/json, text/event-stream", 415),
        ("application/json", "text/plain", 406),
    ] {
        let request = http
            .post(&address)
            .header("content-type", content_type)
            .header("accept", accept)
            .body(list.to_string());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(
            (&answer["error"]["code"], &answer["id"]),
            (&json!(status), &json!(1))
        );
    }
    assert_eq!(post(None, None).await, 200, "the server still answers");
    stop(&child);
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_connection_stays_usable_after_refusals_in_http_mode() {
    let world = World::start().await;
    let mut laptop = LaptopProcess::start(&world).await;
    let own_host = format!("host: {}\r\n", laptop.address());
    for (line, headers, expected) in [
        ("POST /other", own_host.as_str(), "http/1.1 404"),
        ("DELETE /mcp", "host: evil.example\r\n", "http/1.1 403"),
        ("DELETE /mcp", &own_host, "http/1.1 405"),
        ("POST /mcp", &own_host, "http/1.1 400"), // no JSON
    ] {
        let mut stream = connect(laptop.address()).await;
        for number in 0..8 {
            let head = send_in_two_writes(&mut stream, line, headers).await;
            let head = head.unwrap_or_else(|error| panic!("{line} {headers} {number}: {error}"));
            assert!(head.starts_with(expected), "{head}");
            assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        }
    }
    for (line, headers, expected) in [
        ("DELETE /mcp", "host: evil.example\r\n", "http/1.1 403"),
        ("POST /mcp", &own_host, "http/1.1 413"),
    ] {
        for _ in 0..5 {
            let head = send_large_body(laptop.address(), line, headers).await;
            assert!(head.starts_with(expected), "{line}: {head}");
        }
    }
    stop(&laptop.child);
    assert!(laptop.child.wait().await.unwrap().success());
}
