//! Tests the limits that all requests share: calls in progress, and memory for messages.

use std::time::Duration;

use behalf_contract::{ExchangePlace, Injection};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::{Ask, World};

#[tokio::test]
async fn refuses_calls_beyond_the_limit_with_retry_after() {
    const MAX_CALLS: usize = 64;
    let world = World::start().await;
    // An Azure DevOps that takes calls and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let core = format!("http://{}", silent.local_addr().unwrap());
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        config.azure_dev_ops.endpoints.core = core.parse().unwrap();
    });
    let call = || pod.call("token", "list_pipeline_runs", json!({"top": 1}));
    let mut in_progress: FuturesUnordered<_> = (0..MAX_CALLS).map(|_| call()).collect();
    let mut connections = Vec::new();
    while connections.len() < MAX_CALLS {
        tokio::select! {
            Some(answer) = in_progress.next() => panic!("{answer:?}"),
            connection = silent.accept() => connections.push(connection.unwrap()),
        }
    }
    let answer = timeout(Duration::from_secs(10), call())
        .await
        .expect("one more is taken");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");
    let body = answer.json();
    assert_eq!((&body["id"], &body["error"]["code"]), (&json!(1), &json!(503)));
    // Requests other than tool calls take no capacity.
    let listed = pod.send(Ask::request("tools/list").bearer("token")).await;
    assert_eq!(listed.status, StatusCode::OK);

    // A client that leaves makes room.
    drop(in_progress);
    tokio::select! {
        answer = call() => panic!("{answer:?}"),
        connection = silent.accept() => drop(connection.unwrap()),
    }
}

#[tokio::test]
async fn large_messages_reach_the_memory_limit_before_the_call_limit() {
    let world = World::start().await;
    // An Azure DevOps that takes calls and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let core = format!("http://{}", silent.local_addr().unwrap());
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        config.azure_dev_ops.endpoints.core = core.parse().unwrap();
    });
    let large = || {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "list_pipeline_runs", "arguments": {"top": 1}, "_meta": {"x": vec![0; 1_900]}},
        });
        pod.send(Ask::message(&message).bearer("token"))
    };
    let mut in_progress: FuturesUnordered<_> = (0..64).map(|_| large()).collect();
    let answer = timeout(Duration::from_secs(20), in_progress.next())
        .await
        .expect("all of them are taken")
        .unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.headers["retry-after"], "1");
    let ping = pod.send(Ask::request("ping").bearer("token")).await;
    assert_eq!(ping.status, StatusCode::OK, "a small one has room: {ping:?}");
}
