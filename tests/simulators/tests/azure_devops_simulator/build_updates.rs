//! Builds are cancelled and retried.

use behalf_simulators::{
    azure_devops::{BuildChange, Story},
    people::{ANA, CAROL},
};
use reqwest::Method;
use serde_json::json;

use crate::fixture::Bench;

#[tokio::test]
async fn cancelling_needs_the_right_and_is_spelled_with_two_l() {
    let bench = Bench::start().await;
    let path = "/shop/_apis/build/builds/639?api-version=7.1";
    let body = json!({"status": "cancelling"});
    let message = bench
        .send(CAROL, Method::PATCH, path, &body)
        .await
        .error(403, "AccessDeniedException");
    assert!(
        message.starts_with("TF215106") && message.contains("Carol Contoso needs Stop builds permissions")
    );
    assert_eq!(
        bench.send(ANA, Method::PATCH, path, &body).await.ok().json()["status"],
        "cancelling"
    );
    let run = bench
        .get(ANA, "/shop/_apis/pipelines/178/runs/639")
        .await
        .ok()
        .json();
    assert_eq!(run["state"], "canceling", "and here with one");
    let end = BuildChange {
        status: Some("completed".to_owned()),
        result: Some("canceled".to_owned()),
        story: Some(Story::Canceled),
    };
    bench.control.change_build(639, &end).await.unwrap();
    let build = bench.get(ANA, "/shop/_apis/build/builds/639").await.ok().json();
    assert_eq!(build["result"], "canceled");
    assert!(build.get("finishTime").is_some());
    let other = json!({"status": "completed"});
    bench
        .send(ANA, Method::PATCH, path, &other)
        .await
        .error(400, "VssPropertyValidationException");
}

#[tokio::test]
async fn a_failed_build_and_a_stage_can_be_retried() {
    let bench = Bench::start().await;
    let path = "/shop/_apis/build/builds/638?retry=true&api-version=7.1";
    bench
        .send(CAROL, Method::PATCH, path, &json!({}))
        .await
        .error(403, "AccessDeniedException");
    let build = bench.send(ANA, Method::PATCH, path, &json!({})).await.ok().json();
    assert_eq!(build["status"], "inProgress");
    assert!(build.get("result").is_none());
    bench
        .send(ANA, Method::PATCH, path, &json!({}))
        .await
        .error(400, "VssPropertyValidationException");

    let stage = |name: &str| format!("/shop/_apis/build/builds/634/stages/{name}?api-version=7.1");
    let retry = json!({"state": "retry", "forceRetryAllJobs": false});
    let answer = bench.send(ANA, Method::PATCH, &stage("Build"), &retry).await.ok();
    assert!(answer.body.is_empty(), "200 without a body");
    bench
        .send(ANA, Method::PATCH, &stage("Nowhere"), &retry)
        .await
        .error(404, "StageNotFoundException");
    bench
        .send(ANA, Method::PATCH, &stage("Build"), &json!({"state": "pause"}))
        .await
        .wrapped_error();
}
