//! Tests `list_pipeline_runs`.

use behalf_simulators::azure_devops::{NewBuild, Permissions, Settings, Story};
use behalf_simulators::people::ANA;
use serde_json::{Value, json};

use crate::user::{User, ids};

#[tokio::test]
async fn lists_runs_newest_first_with_unfinished_ones() {
    let user = User::sign_in("ana").await;
    let answer = user.call("list_pipeline_runs", json!({})).await.structured();
    let runs = ids(&answer["runs"], "run_id");
    assert_eq!(&runs[..4], [640, 639, 638, 637], "{runs:?}");
    assert!(!runs.contains(&635), "a hidden pipeline shows");
    let queued = &answer["runs"][0];
    assert_eq!(queued["status"], "notStarted");
    assert!(
        queued.get("result").is_none() && queued.get("started_at").is_none(),
        "{queued}"
    );
    let failed = &answer["runs"][2];
    assert_eq!(
        (&failed["result"], &failed["branch"]),
        (&json!("failed"), &json!("main"))
    );
    assert!(failed["duration_seconds"].as_i64().unwrap() > 0);
    assert!(!answer.to_string().contains("ana@contoso.example"));
}

#[tokio::test]
async fn filters_runs_by_pipeline_status_and_result() {
    let user = User::sign_in("ana").await;
    let list = |arguments: Value| user.call("list_pipeline_runs", arguments);
    let answer = list(json!({"pipeline_id": 180})).await.structured();
    assert_eq!(ids(&answer["runs"], "run_id"), [637]);
    let answer = list(json!({"pipeline_id": "178", "status": "inprogress"}))
        .await
        .structured();
    assert_eq!(ids(&answer["runs"], "run_id"), [639]);
    let answer = list(json!({"pipeline_id": 178, "status": "failed"}))
        .await
        .structured();
    assert_eq!(ids(&answer["runs"], "run_id"), [638, 634]);
}

#[tokio::test]
async fn continues_a_list_with_any_continuation_token_of_the_service() {
    let user = User::sign_in("ana").await;
    let all = user
        .call("list_pipeline_runs", json!({"top": 50}))
        .await
        .structured();
    assert!(all.get("continuation_token").is_none());
    let mut found = Vec::new();
    let mut arguments = json!({"top": 5});
    loop {
        let page = user
            .call("list_pipeline_runs", arguments.clone())
            .await
            .structured();
        found.extend(ids(&page["runs"], "run_id"));
        let Some(token) = page.get("continuation_token") else {
            break;
        };
        arguments["continuation_token"] = token.clone();
    }
    assert_eq!(found, ids(&all["runs"], "run_id"));
}

#[tokio::test]
async fn returns_an_unknown_value_of_an_enumeration() {
    let user = User::sign_in("ana").await;
    let build = NewBuild::completed(178, "quarantined", Story::Succeeded);
    let id = user.world.azure().add_builds(&build).await.unwrap()[0];
    let answer = user
        .call("list_pipeline_runs", json!({"top": 1}))
        .await
        .structured();
    assert_eq!(answer["runs"][0]["run_id"], id);
    assert_eq!(answer["runs"][0]["result"], "quarantined");
}

#[tokio::test]
async fn reads_answers_with_a_byte_order_mark() {
    let user = User::sign_in("ana").await;
    let settings = Settings {
        byte_order_mark: true,
        ..Settings::default()
    };
    user.world.azure().change_settings(&settings).await.unwrap();
    user.call("list_pipeline_runs", json!({})).await.structured();
    user.call("get_run_failure_logs", json!({"run_id": 638}))
        .await
        .structured();
}

#[tokio::test]
async fn the_note_of_an_empty_list_names_all_possible_causes() {
    let user = User::sign_in("ana").await;
    let blind = Permissions {
        projects: ["shop".to_owned()].into(),
        empty_lists: true,
        ..Permissions::default()
    };
    user.world
        .azure()
        .change_permissions(ANA.object_id, &blind)
        .await
        .unwrap();
    let answer: Value = user.list().await.structured();
    let note = answer["note"].as_str().unwrap();
    assert!(note.contains("none is visible to the signed-in user"), "{note}");
}
