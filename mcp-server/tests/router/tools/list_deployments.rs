//! Tests `list_deployments`.

use serde_json::{Value, json};

use crate::user::{User, ids};

#[tokio::test]
async fn lists_deployments_newest_first_and_by_environment() {
    let user = User::sign_in("ana").await;
    let list = |arguments: Value| user.call("list_deployments", arguments);
    let answer = list(json!({})).await.structured();
    assert_eq!(&ids(&answer["deployments"], "deployment_id")[..2], [54, 53]);
    assert_eq!(answer["deployments"][0]["operation_status"], "awaitingSlotSwap");
    assert!(!answer.to_string().contains("0001-01-01"));

    let answer = list(json!({"environment": "production"})).await.structured();
    // 49 belongs to a pipeline that Ana may not see.
    assert_eq!(ids(&answer["deployments"], "deployment_id"), [53, 48, 46]);
    let answer = list(json!({"environment": "Staging", "status": "FAILED"}))
        .await
        .structured();
    assert_eq!(ids(&answer["deployments"], "deployment_id"), [50]);
    let answer = list(json!({"environment": "Stagging"})).await.structured();
    assert!(
        answer["note"].as_str().unwrap().contains("Production, Staging"),
        "{answer}"
    );
}

#[tokio::test]
async fn continues_a_filtered_list_at_the_next_deployment() {
    let user = User::sign_in("ana").await;
    let mut arguments = json!({"environment": "Production", "top": 1});
    let mut found = Vec::new();
    loop {
        let page = user
            .call("list_deployments", arguments.clone())
            .await
            .structured();
        found.extend(ids(&page["deployments"], "deployment_id"));
        let Some(token) = page.get("continuation_token") else {
            break;
        };
        arguments["continuation_token"] = token.clone();
    }
    assert_eq!(found, [53, 48, 46]);
}
