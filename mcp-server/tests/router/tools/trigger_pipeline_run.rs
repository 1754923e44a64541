//! Tests `trigger_pipeline_run`.

use serde_json::{Value, json};

use crate::user::User;

#[tokio::test]
async fn queues_a_run_with_the_given_branch_and_parameters() {
    let user = User::sign_in("ana").await;
    let arguments =
        json!({"pipeline_id": 178, "branch": "release/2.4", "parameters": {"env": "staging", "note": 7}});
    let run = user.call("trigger_pipeline_run", arguments).await.structured();
    assert_eq!(
        (&run["pipeline_id"], &run["branch"]),
        (&json!(178), &json!("release/2.4")),
        "{run}"
    );
    let record = user.world.azure().record().await.unwrap();
    let sent: Value = serde_json::from_str(record.last().unwrap().body.as_deref().unwrap()).unwrap();
    assert_eq!(
        sent,
        json!({
            "resources": {"repositories": {"self": {"refName": "refs/heads/release/2.4"}}},
            "templateParameters": {"env": "staging", "note": "7"},
        })
    );
    let newest = user
        .call("list_pipeline_runs", json!({"top": 1}))
        .await
        .structured();
    assert_eq!(newest["runs"][0]["run_id"], run["run_id"]);
}

#[tokio::test]
async fn sends_no_branch_if_none_is_given() {
    let user = User::sign_in("ana").await;
    user.call("trigger_pipeline_run", json!({"pipeline_id": 178}))
        .await
        .structured();
    let record = user.world.azure().record().await.unwrap();
    assert_eq!(record.last().unwrap().body.as_deref(), Some("{}"));
}

#[tokio::test]
async fn does_not_run_a_pipeline_of_another_project() {
    let user = User::sign_in("ben").await;
    // Ben may read the project payments, but this server is limited to shop.
    let text = user
        .call("trigger_pipeline_run", json!({"pipeline_id": 210}))
        .await
        .tool_error();
    assert!(text.contains("210 in project \"shop\" was not found"), "{text}");
    let record = user.world.azure().record().await.unwrap();
    assert!(record.iter().all(|call| call.method == "GET"), "{record:?}");
}

#[tokio::test]
async fn names_a_missing_permission() {
    let user = User::sign_in("carol").await;
    let text = user
        .call("trigger_pipeline_run", json!({"pipeline_id": 178}))
        .await
        .tool_error();
    assert!(
        text.contains("TF215106") && text.contains("Queue builds"),
        "{text}"
    );
    user.call("list_pipeline_runs", json!({})).await.structured();
}

#[tokio::test]
async fn returns_the_error_of_a_wrong_parameter() {
    let user = User::sign_in("ana").await;
    let arguments = json!({"pipeline_id": 178, "parameters": {"env": "moon"}});
    let text = user.call("trigger_pipeline_run", arguments).await.tool_error();
    assert!(text.contains("azure-pipelines.yml"), "{text}");
}
