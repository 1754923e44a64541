//! Tests 429 and `Retry-After` of Azure DevOps.

use std::time::{Duration, Instant};

use behalf_simulators::azure_devops::{Action, Fault};
use serde_json::json;

use crate::user::{User, writes};

#[tokio::test]
async fn waits_during_a_short_throttling_and_repeats_a_write() {
    let user = User::sign_in("ana").await;
    user.fault(Fault::once(Action::Throttle {
        retry_after_seconds: Some(1),
    }))
    .await;
    let start = Instant::now();
    user.list().await.structured();
    assert!(start.elapsed() >= Duration::from_secs(1), "did not wait");
    user.fault(
        Fault::once(Action::Throttle {
            retry_after_seconds: None,
        })
        .on(writes()),
    )
    .await;
    user.trigger().await.structured();
    assert_eq!(user.requests().await, 5, "with the question whose pipeline it is");
}

#[tokio::test]
async fn returns_the_wait_of_a_long_throttling_and_sends_no_request_before_its_end() {
    let user = User::sign_in("ana").await;
    user.fault(Fault::once(Action::Throttle {
        retry_after_seconds: Some(120),
    }))
    .await;
    let text = user.list().await.tool_error();
    assert!(text.contains("try again in 1"), "{text}");
    let text = user.list().await.tool_error();
    assert!(text.contains("limiting this user's requests"), "{text}");
    assert_eq!(
        user.requests().await,
        1,
        "the second call went out before its time"
    );

    // Another user has another budget.
    let ben = user.world.azure_token("ben").await;
    user.pod
        .call(&ben, "list_pipeline_runs", json!({}))
        .await
        .structured();
}

#[tokio::test]
async fn obeys_retry_after_of_a_successful_answer() {
    let user = User::sign_in("ana").await;
    user.fault(Fault::once(Action::Delay {
        milliseconds: 0,
        retry_after_seconds: Some(120),
    }))
    .await;
    user.list().await.structured();
    let text = user.list().await.tool_error();
    assert!(text.contains("limiting"), "{text}");
    assert_eq!(user.requests().await, 1);
}
