//! Tests `http`, the HTTP mode of a laptop.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::binary::{az_with, client, command, first_line, hostile, stop};
use crate::support::World;

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

    let arguments = [
        "http",
        "--organization",
        "contoso",
        "--project",
        "shop",
        "--listen",
        "127.0.0.1:0",
    ];
    let mut child = command(&world, folder.path(), &arguments).spawn().unwrap();
    let logged = first_line(BufReader::new(child.stderr.take().unwrap()).lines(), "at http://").await;
    let address = logged
        .split("at ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
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
