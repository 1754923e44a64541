//! Timelines.

use std::collections::BTreeSet;

use behalf_simulators::{
    azure_devops::{NewBuild, Story, approval_id, earlier_timeline_id},
    people::{ANA, BEN},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::Bench;

async fn records(bench: &Bench, build: u32) -> Vec<Value> {
    let timeline = bench
        .get(ANA, &format!("/shop/_apis/build/builds/{build}/timeline"))
        .await
        .ok()
        .json();
    timeline["records"].as_array().unwrap().clone()
}

fn find<'r>(records: &'r [Value], kind: &str, name: &str) -> &'r Value {
    records
        .iter()
        .find(|record| record["type"] == kind && record["name"] == name)
        .unwrap()
}

#[tokio::test]
async fn a_failed_build_shows_what_failed_down_to_the_line() {
    let bench = Bench::start().await;
    let records = records(&bench, 638).await;
    let task = find(&records, "Task", "Compile");
    assert_eq!(
        (&task["result"], &task["errorCount"], &task["log"]["id"]),
        (&json!("failed"), &json!(2), &json!(9))
    );
    assert_eq!(
        task["issues"][0]["data"]["logFileLineNumber"], "417",
        "data values are strings"
    );
    assert_eq!(task["issues"][1]["category"], Value::Null);
    let stage = find(&records, "Stage", "Build");
    assert_eq!(
        (&stage["result"], &stage["errorCount"]),
        (&json!("failed"), &json!(0)),
        "0 on a failed stage"
    );
    assert!(stage.get("issues").is_none(), "absent when empty");
    assert_eq!(stage["lastModified"], "0001-01-01T00:00:00");
    let job = find(&records, "Job", "linux");
    assert_eq!((&task["parentId"], &job["queueId"]), (&job["id"], &json!(121)));
}

#[tokio::test]
async fn the_tree_is_whole_and_checkpoints_have_no_order() {
    let bench = Bench::start().await;
    let mut kinds = BTreeSet::new();
    for build in [637, 638] {
        let records = records(&bench, build).await;
        let ids: BTreeSet<&str> = records
            .iter()
            .map(|record| record["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), records.len());
        for record in &records {
            let kind = record["type"].as_str().unwrap().to_owned();
            assert_eq!(kind == "Stage", record["parentId"].is_null());
            assert!(record["parentId"].is_null() || ids.contains(record["parentId"].as_str().unwrap()));
            assert_eq!(
                record.get("order").is_none(),
                kind.starts_with("Checkpoint"),
                "{kind}"
            );
            kinds.insert(kind);
        }
    }
    let expected = [
        "Checkpoint",
        "Checkpoint.Approval",
        "Checkpoint.Authorization",
        "Checkpoint.ExtendsCheck",
        "Job",
        "Phase",
        "Stage",
        "Task",
    ];
    assert_eq!(kinds, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn a_queued_build_has_no_timeline_yet() {
    let bench = Bench::start().await;
    let answer = bench
        .get(ANA, "/shop/_apis/build/builds/640/timeline")
        .await
        .expect(204);
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn earlier_attempts_are_timelines_of_their_own_whole_or_in_part() {
    let bench = Bench::start().await;
    let records = records(&bench, 634).await;
    let job = find(&records, "Job", "browser");
    assert_eq!(job["attempt"], 3);
    let previous = job["previousAttempts"].as_array().unwrap();
    assert_eq!(previous.len(), 2);
    let mut sizes = Vec::new();
    for (number, attempt) in (1_u32..).zip(previous) {
        assert_eq!(attempt["attempt"], number);
        assert_eq!(attempt["timelineId"], earlier_timeline_id(634, number));
        let id = attempt["timelineId"].as_str().unwrap();
        let old = bench
            .get(ANA, &format!("/shop/_apis/build/builds/634/timeline/{id}"))
            .await
            .ok()
            .json();
        let old = old["records"].as_array().unwrap().clone();
        assert!(old.iter().any(|record| record["id"] == attempt["recordId"]));
        sizes.push(old.len());
    }
    assert_eq!(
        sizes,
        [2, records.len()],
        "only the retried records, then a full old one"
    );
    let compile = find(&records, "Task", "Compile");
    assert_eq!(compile["previousAttempts"], json!([]));
    bench
        .get(
            ANA,
            "/shop/_apis/build/builds/634/timeline/0c0ffee0-0000-4000-8000-000000000000",
        )
        .await
        .error(404, "TimelineNotFoundException");
}

#[tokio::test]
async fn an_approval_is_pending_until_its_approver_decides() {
    let bench = Bench::start().await;
    let before = records(&bench, 637).await;
    let pending = find(&before, "Checkpoint.Approval", "Checkpoint.Approval");
    assert_eq!(
        (&pending["state"], &pending["id"]),
        (&json!("inProgress"), &json!(approval_id(637)))
    );
    let list = "/shop/_apis/pipelines/approvals?state=pending&$expand=steps";
    let approvals = bench.get(BEN, list).await.ok().items();
    assert_eq!(
        approvals[0]["id"], pending["id"],
        "the record's id is the approval's"
    );
    assert_eq!(
        approvals[0]["steps"][0]["assignedApprover"]["displayName"],
        BEN.display_name
    );

    let path = "/shop/_apis/pipelines/approvals?api-version=7.1";
    let decision = json!([{"approvalId": pending["id"], "status": "approved", "comment": "ok"}]);
    bench
        .send(ANA, Method::PATCH, path, &decision)
        .await
        .error(403, "AccessDeniedException");
    assert_eq!(
        bench.send(BEN, Method::PATCH, path, &decision).await.ok().items()[0]["status"],
        "approved"
    );
    bench
        .send(BEN, Method::PATCH, path, &decision)
        .await
        .error(400, "VssPropertyValidationException");
    let unknown = json!([{"approvalId": "none", "status": "approved"}]);
    bench
        .send(BEN, Method::PATCH, path, &unknown)
        .await
        .error(404, "ApprovalNotFoundException");
    bench
        .send(BEN, Method::PATCH, path, &json!({"status": "approved"}))
        .await
        .wrapped_error();

    let after = records(&bench, 637).await;
    assert_eq!(
        find(&after, "Checkpoint.Approval", "Checkpoint.Approval")["result"],
        "succeeded"
    );
    assert_eq!(find(&after, "Stage", "Production")["state"], "inProgress");
    assert_eq!(bench.get(BEN, list).await.ok().items().len(), 0);
}

#[tokio::test]
async fn a_running_build_has_running_and_pending_records() {
    let bench = Bench::start().await;
    let records = records(&bench, 639).await;
    let test = find(&records, "Task", "Test");
    assert_eq!(
        (&test["state"], &test["result"]),
        (&json!("inProgress"), &Value::Null)
    );
    assert_eq!(find(&records, "Task", "Publish results")["state"], "pending");
}

#[tokio::test]
async fn a_timeline_of_2750_records_weighs_megabytes() {
    let bench = Bench::start().await;
    let answer = bench.get(ANA, "/shop/_apis/build/builds/630/timeline").await.ok();
    let body = answer.json();
    let records = body["records"].as_array().unwrap();
    assert_eq!(records.len(), 2_750);
    assert!(answer.body.len() > 1_500_000, "{}", answer.body.len());
    let ids: BTreeSet<&str> = records
        .iter()
        .map(|record| record["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 2_750);
    assert!(
        records
            .iter()
            .all(|record| record["parentId"].is_null() || ids.contains(record["parentId"].as_str().unwrap()))
    );
    let failed = records
        .iter()
        .filter(|record| record["type"] == "Task" && record["result"] == "failed");
    assert_eq!(failed.count(), 2);
    let story = Story::Generated {
        records: 10,
        log_lines: 1,
    };
    let ids = bench
        .control
        .add_builds(&NewBuild::completed(178, "failed", story))
        .await
        .unwrap();
    assert_eq!(super::timeline::records(&bench, ids[0]).await.len(), 10);
}
