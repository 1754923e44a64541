//! Tests answers of Azure DevOps that together need more memory than the server allows.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use behalf_contract::{ExchangePlace, Injection};
use futures::stream::{self, FuturesUnordered};
use futures::{StreamExt as _, future};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::support::World;

/// Size of one answer in bytes: slightly below the maximum that the server reads.
const LARGE: usize = 7 * 1024 * 1024;

/// Number of such answers that fit into the memory of one user. The memory for all users fits twice as many.
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
    serve(Router::new().fallback(answer)).await
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[rstest]
#[case::the_list_of_runs("value", "list_pipeline_runs", json!({"top": 1}))]
#[case::the_records_of_a_timeline("records", "get_run_failure_logs", json!({"run_id": 1}))]
#[tokio::test]
async fn a_list_of_empty_objects_that_would_take_a_hundred_times_its_size_is_not_read(
    #[case] list: &str,
    #[case] tool: &str,
    #[case] arguments: Value,
) {
    let world = World::start().await;
    let text = format!("{{\"{list}\":[{}]}}", vec!["{}"; LARGE / 3].join(","));
    let answer = move || {
        let text = text.clone();
        async move { ([("content-type", "application/json")], text) }
    };
    let core = serve(Router::new().fallback(answer)).await;
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        config.azure_dev_ops.endpoints.core = core.parse().unwrap();
    });
    let token = world.azure_token("ana").await;
    let refused = pod.call(&token, tool, arguments).await.tool_error();
    assert!(refused.contains("too large to read; ask for less"), "{refused}");
}

/// Sessions of one user have different tokens. The exchange in the server validates them, the one in the sidecar does
/// not show them to the server before they are exchanged.
#[rstest]
#[case(ExchangePlace::Sidecar)]
#[case(ExchangePlace::Server)]
#[tokio::test]
async fn answers_to_all_sessions_of_a_user_take_half_of_the_memory(#[case] at: ExchangePlace) {
    let world = World::start().await;
    let ends = Arc::new(Semaphore::new(0));
    let core = large_answers(Arc::clone(&ends)).await;
    let pod = world.pod_with(at, Injection::Header, |config| {
        config.azure_dev_ops.endpoints.core = core.parse().unwrap();
    });
    let token = async |name: &str| match at {
        ExchangePlace::Sidecar => world.azure_token(name).await,
        ExchangePlace::Server => world.user_token(name).await,
    };
    let sessions = [token("ana").await, token("ana").await, token("ana").await];
    assert!(sessions[0] != sessions[1] && sessions[1] != sessions[2]);
    let (ben, carol) = (token("ben").await, token("carol").await);
    let call = |token: &str| {
        let token = token.to_owned();
        async {
            pod.call(&{ token }, "list_pipeline_runs", json!({"top": 1}))
                .await
        }
    };
    let mut in_progress: FuturesUnordered<_> = sessions.iter().map(|token| call(token)).collect();
    let refused = timeout(Duration::from_secs(20), in_progress.next());
    let refused = refused.await.expect("one is refused").unwrap().tool_error();
    assert!(refused.contains("try again in a few seconds"), "{refused}");
    assert_eq!(in_progress.len(), FIT, "the others continue");

    in_progress.extend((0..FIT).map(|_| call(&ben)));
    in_progress.push(call(&carol));
    let refused = timeout(Duration::from_secs(20), in_progress.next());
    refused.await.expect("one is refused").unwrap().tool_error();
    assert_eq!(in_progress.len(), 2 * FIT, "one user leaves half to the others");

    ends.add_permits(2 * FIT + 1);
    while let Some(answer) = in_progress.next().await {
        answer.structured();
    }
    call(&sessions[0]).await.structured();
}
