//! Tests arguments that a tool refuses, and the choice of a project.

use behalf_contract::{ExchangePlace, Injection};
use serde_json::json;

use crate::support::World;
use crate::user::{User, ids};

#[tokio::test]
async fn refuses_invalid_arguments_before_any_request_and_says_what_to_send() {
    let user = User::sign_in("ana").await;
    for (tool, arguments, expected) in [
        (
            "list_pipeline_runs",
            json!({"top": 51}),
            "top must be a whole number from 1 to 50",
        ),
        ("list_pipeline_runs", json!({"top": "many"}), "whole number"),
        ("list_pipeline_runs", json!({"status": "broken"}), "notStarted"),
        ("list_pipeline_runs", json!({"status": 5}), "must be a string"),
        (
            "list_pipeline_runs",
            json!({"projectName": "shop"}),
            "there is no argument",
        ),
        (
            "list_pipeline_runs",
            json!({"project": "payments"}),
            "it may use shop",
        ),
        ("get_run_failure_logs", json!({}), "list_pipeline_runs shows"),
        ("get_run_failure_logs", json!({"run_id": -1}), "from 1"),
        (
            "list_deployments",
            json!({"status": "maybe"}),
            "partiallySucceeded",
        ),
        (
            "list_deployments",
            json!({"continuation_token": "x"}),
            "leave it out",
        ),
        (
            "trigger_pipeline_run",
            json!({"branch": "main"}),
            "pipeline_id is missing",
        ),
        (
            "trigger_pipeline_run",
            json!({"pipeline_id": 178, "branch": "a b"}),
            "name of a branch",
        ),
        (
            "trigger_pipeline_run",
            json!({"pipeline_id": 178, "parameters": {"x": []}}),
            "parameter",
        ),
    ] {
        let text = user
            .call(tool, arguments.clone())
            .await
            .tool_error()
            .to_lowercase();
        assert!(
            text.contains(&expected.to_lowercase()),
            "{tool} {arguments}: {text}"
        );
    }
    assert!(user.world.azure().record().await.unwrap().is_empty());
}

#[tokio::test]
async fn users_see_their_own_projects() {
    let world = World::start().await;
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        config.azure_dev_ops.projects = Vec::new();
    });
    let (ana, ben) = (world.azure_token("ana").await, world.azure_token("ben").await);
    let list = json!({"project": "payments"});
    let answer = pod
        .call(&ben, "list_pipeline_runs", list.clone())
        .await
        .structured();
    assert_eq!(ids(&answer["runs"], "run_id"), [617, 616]);
    let text = pod.call(&ana, "list_pipeline_runs", list).await.tool_error();
    assert!(
        text.contains("no project \"payments\"") && text.contains("no access"),
        "{text}"
    );
    let text = pod
        .call(&ana, "list_deployments", json!({"project": "nowhere"}))
        .await
        .tool_error();
    assert!(text.contains("no project \"nowhere\""), "{text}");
    let text = pod.call(&ana, "list_pipeline_runs", json!({})).await.tool_error();
    assert!(
        text.contains("give the name of an Azure DevOps project"),
        "{text}"
    );
}

#[tokio::test]
async fn a_missing_or_foreign_project_is_answered_with_the_permitted_ones() {
    let world = World::start().await;
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        config.azure_dev_ops.projects = vec!["shop".to_owned(), "payments".to_owned()];
    });
    let ben = world.azure_token("ben").await;
    let text = pod.call(&ben, "list_pipeline_runs", json!({})).await.tool_error();
    assert!(text.contains("shop, payments"), "{text}");
    let text = pod
        .call(&ben, "list_pipeline_runs", json!({"project": "other"}))
        .await
        .tool_error();
    assert!(text.contains("shop, payments"), "{text}");
    pod.call(&ben, "list_pipeline_runs", json!({"project": "Payments"}))
        .await
        .structured();
}

/// Regression: `GHSA-vv7q-7jx5-f767` (`CVE-2026-32871`), an argument that led the server's request to another path.
#[tokio::test]
async fn a_project_whose_name_is_a_path_causes_no_request() {
    let world = World::start().await;
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        config.azure_dev_ops.projects = Vec::new();
    });
    let ana = world.azure_token("ana").await;
    for project in ["..", "../..", "shop/../../_apis/projects", "..\\..", "_apis"] {
        let answer = pod
            .call(&ana, "list_pipeline_runs", json!({"project": project}))
            .await;
        answer.tool_error();
    }
    assert!(world.azure().record().await.unwrap().is_empty());
}
