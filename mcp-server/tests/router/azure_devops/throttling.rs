//! Tests 429 and `Retry-After` of Azure DevOps.

use std::time::{Duration, Instant};

use behalf_simulators::azure_devops::{Action, Fault};
use serde_json::json;

use crate::user::{User, writes};

#[tokio::test]
async fn a_short_throttling_is_waited_out_and_a_write_is_sent_again() {
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
async fn a_long_throttling_is_told_and_respected_by_the_next_call() {
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
async fn a_wish_to_slow_down_on_a_good_answer_is_respected() {
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
