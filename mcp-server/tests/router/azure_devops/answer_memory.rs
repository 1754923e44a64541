//! Tests answers of Azure DevOps that together need more memory than the server allows.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use behalf_contract::{ExchangePlace, Injection};
use futures::stream::{self, FuturesUnordered};
use futures::{StreamExt as _, future};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::support::World;

/// Size of one answer in bytes: slightly below the maximum that the server reads.
const LARGE: usize = 7 * 1024 * 1024;

/// Number of such answers that fit into the memory of one token. The memory of all tokens together fits twice
/// as many.
const FIT: usize = 2;

/// A simulated Azure DevOps with large lists of runs. Each answer ends when `ends` has a permit for it.
async fn large_answers(ends: Arc<Semaphore>) -> String {
    let answer = move || {
        let ends = Arc::clone(&ends);
        async move {
            let begin = format!("{{\"pad\":\"{}\",\"value\":[", "x".repeat(LARGE));
            let begin = stream::once(future::ready(Ok::<_, std::io::Error>(Bytes::from(begin))));
            let end = stream::once(async move {
                ends.acquire().await.unwrap().forget();
                Ok(Bytes::from("]}"))
            });
            let body = Body::from_stream(begin.chain(end));
            ([("content-type", "application/json")], body)
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    format!("http://{address}")
}

#[tokio::test]
async fn an_answer_that_has_no_room_is_a_tool_result_that_says_what_to_do() {
    let world = World::start().await;
    let ends = Arc::new(Semaphore::new(0));
    let core = large_answers(Arc::clone(&ends)).await;
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        config.azure_dev_ops.endpoints.core = core.parse().unwrap();
    });
    let call = |token: &'static str| pod.call(token, "list_pipeline_runs", json!({"top": 1}));
    let mut under_way: FuturesUnordered<_> = (0..=FIT).map(|_| call("token")).collect();
    let refused = timeout(Duration::from_secs(20), under_way.next());
    let refused = refused.await.expect("one has no room").unwrap().tool_error();
    assert!(refused.contains("try again in a few seconds"), "{refused}");
    assert_eq!(under_way.len(), FIT, "and the others go on");

    under_way.extend((0..FIT).map(|_| call("another")));
    under_way.push(call("third"));
    let refused = timeout(Duration::from_secs(20), under_way.next());
    refused.await.expect("one has no room").unwrap().tool_error();
    assert_eq!(under_way.len(), 2 * FIT, "one token leaves half to the others");

    ends.add_permits(2 * FIT + 1);
    while let Some(answer) = under_way.next().await {
        answer.structured();
    }
    call("token").await.structured();
}
