//! The four tools, as users with different rights see them.

use behalf_contract::{ExchangePlace, Injection};
use behalf_simulators::azure_devops::{NewBuild, PLANTED_SECRETS, Settings, Story};
use serde_json::{Value, json};

use crate::support::{Answer, Pod, World};

struct Session {
    world: World,
    pod: Pod,
    token: String,
}

impl Session {
    async fn of(name: &str) -> Self {
        let world = World::start().await;
        let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
        let token = world.azure_token(name).await;
        Self { world, pod, token }
    }

    async fn call(&self, name: &str, arguments: Value) -> Answer {
        self.pod.call(&self.token, name, arguments).await
    }
}

fn ids(list: &Value, id: &str) -> Vec<i64> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|item| item[id].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn runs_come_newest_first_with_the_unfinished_ones() {
    let session = Session::of("ana").await;
    let answer = session.call("list_pipeline_runs", json!({})).await.structured();
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
async fn runs_are_filtered_by_pipeline_status_and_result() {
    let session = Session::of("ana").await;
    let list = |arguments: Value| session.call("list_pipeline_runs", arguments);
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
async fn a_continuation_token_leads_on_whatever_is_in_it() {
    let session = Session::of("ana").await;
    let all = session
        .call("list_pipeline_runs", json!({"top": 50}))
        .await
        .structured();
    assert!(all.get("continuation_token").is_none());
    let mut found = Vec::new();
    let mut arguments = json!({"top": 5});
    loop {
        let page = session
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
async fn a_byte_order_mark_changes_nothing() {
    let session = Session::of("ana").await;
    let settings = Settings {
        byte_order_mark: true,
        ..Settings::default()
    };
    session.world.azure().change_settings(&settings).await.unwrap();
    session.call("list_pipeline_runs", json!({})).await.structured();
    session
        .call("get_run_failure_logs", json!({"run_id": 638}))
        .await
        .structured();
}

#[tokio::test]
async fn bad_input_is_a_sentence_to_act_on_and_reaches_nobody() {
    let session = Session::of("ana").await;
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
        let text = session
            .call(tool, arguments.clone())
            .await
            .tool_error()
            .to_lowercase();
        assert!(
            text.contains(&expected.to_lowercase()),
            "{tool} {arguments}: {text}"
        );
    }
    assert!(session.world.azure().record().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failed_run_shows_its_tasks_errors_and_log_tails() {
    let session = Session::of("ana").await;
    let answer = session
        .call("get_run_failure_logs", json!({"run_id": 638}))
        .await
        .structured();
    assert_eq!(answer["run"]["result"], "failed");
    let failure = &answer["failures"][0];
    assert_eq!(
        (&failure["stage"], &failure["result"]),
        (&json!("Build"), &json!("failed")),
        "{failure}"
    );
    assert!(failure["task"].is_string() && failure["job"].is_string());
    assert_eq!(failure["issues"][0]["severity"], "error");
    let tail = failure["log_tail"].as_str().unwrap();
    assert!(tail.contains("##[error]"), "{tail}");
    // Between markers that no log could have foreseen.
    let marker = tail.lines().next().unwrap().split(' ').nth(4).unwrap().to_owned();
    assert_eq!(marker.len(), 16, "{tail}");
    assert!(tail.lines().last().unwrap().contains(&marker));
    assert!(answer["notice"].as_str().unwrap().contains(&marker));
    let again = session
        .call("get_run_failure_logs", json!({"run_id": 638}))
        .await
        .structured();
    assert!(!again.to_string().contains(&marker));
}

#[tokio::test]
async fn secrets_that_scripts_printed_are_taken_out() {
    let session = Session::of("ana").await;
    let answer = session
        .call("get_run_failure_logs", json!({"run_id": 638}))
        .await
        .structured()
        .to_string();
    for secret in PLANTED_SECRETS {
        assert!(!answer.contains(secret), "{secret} shows");
    }
    assert!(answer.contains("[redacted]"), "nothing was there to redact");
}

#[tokio::test]
async fn earlier_attempts_of_a_retried_stage_are_told_too() {
    let session = Session::of("ana").await;
    let answer = session
        .call("get_run_failure_logs", json!({"run_id": 634}))
        .await
        .structured();
    let attempts: Vec<_> = answer["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| (failure["attempt"].as_i64().unwrap(), failure["retried"] == true))
        .collect();
    assert_eq!(
        attempts,
        [(3, false), (1, true), (2, true)].map(|pair| pair),
        "{answer}"
    );
}

#[tokio::test]
async fn of_a_huge_log_the_end_is_read_and_its_length_told() {
    let session = Session::of("ana").await;
    let answer = session.call("get_run_failure_logs", json!({"run_id": 630})).await;
    // 400,000 lines are 40 MB; two failed steps show the last 60 of them.
    assert!(answer.text.len() < 32 * 1024, "{} bytes", answer.text.len());
    let answer = answer.structured();
    let failures = answer["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 2);
    for failure in failures {
        assert_eq!(failure["log_lines"], 400_000);
        let tail: Vec<_> = failure["log_tail"].as_str().unwrap().lines().collect();
        assert_eq!(tail.len(), 62, "60 lines between two markers");
        assert!(tail[1].starts_with("test case 000399940 "), "{}", tail[1]);
        assert_eq!(tail[60], "##[endgroup]");
    }
    let record = session.world.azure().record().await.unwrap();
    let logs = record.iter().filter(|call| call.path.contains("/logs/"));
    let starts: Vec<_> = logs
        .map(|call| call.query.iter().find(|(name, _)| name == "startline"))
        .collect();
    let start = ("startline".to_owned(), "399940".to_owned());
    assert_eq!(
        starts,
        [Some(&start), Some(&start)],
        "a log was read from its beginning"
    );
}

#[tokio::test]
async fn a_run_with_many_failed_steps_is_cut_and_says_so() {
    let session = Session::of("ana").await;
    // Every thousandth record is a failed step with a log.
    let story = Story::Generated {
        records: 9_500,
        log_lines: 400,
    };
    let build = NewBuild::completed(178, "failed", story);
    let id = session.world.azure().add_builds(&build).await.unwrap()[0];
    let answer = session
        .call("get_run_failure_logs", json!({"run_id": id}))
        .await
        .structured();
    let failures = answer["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 9);
    let tails = failures
        .iter()
        .filter(|failure| failure.get("log_tail").is_some());
    assert_eq!(tails.count(), 8);
    assert_eq!(answer["left_out"], json!(["the logs of 1 failed steps"]));
}

#[tokio::test]
async fn the_tail_is_the_same_whichever_line_the_service_counts_first() {
    let mut last = Vec::new();
    for first_log_line in [0, 1] {
        let session = Session::of("ana").await;
        let settings = Settings {
            first_log_line,
            ..Settings::default()
        };
        session.world.azure().change_settings(&settings).await.unwrap();
        let answer = session
            .call("get_run_failure_logs", json!({"run_id": 630}))
            .await
            .structured();
        let tail = answer["failures"]
            .as_array()
            .unwrap()
            .iter()
            .find_map(|failure| failure["log_tail"].as_str());
        let lines: Vec<String> = tail.unwrap().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 62);
        last.push(lines[1..61].to_vec());
    }
    assert_eq!(last[0], last[1]);
}

#[tokio::test]
async fn runs_that_did_not_fail_say_so() {
    let session = Session::of("ana").await;
    for (run, expected) in [
        (636, "succeeded"),
        (640, "has not begun"),
        (639, "not completed"),
        (632, "canceled"),
        (633, "in part"),
    ] {
        let answer = session
            .call("get_run_failure_logs", json!({"run_id": run}))
            .await
            .structured();
        let summary = answer["summary"].as_str().unwrap();
        assert!(summary.contains(expected), "{run}: {summary}");
    }
    let waiting = session
        .call("get_run_failure_logs", json!({"run_id": 637}))
        .await
        .structured();
    assert!(
        !waiting["pending_approvals"].as_array().unwrap().is_empty(),
        "{waiting}"
    );
}

#[tokio::test]
async fn a_value_that_no_list_knows_is_passed_on() {
    let session = Session::of("ana").await;
    let build = NewBuild::completed(178, "quarantined", Story::Succeeded);
    let id = session.world.azure().add_builds(&build).await.unwrap()[0];
    let answer = session
        .call("list_pipeline_runs", json!({"top": 1}))
        .await
        .structured();
    assert_eq!(answer["runs"][0]["run_id"], id);
    assert_eq!(answer["runs"][0]["result"], "quarantined");
}

#[tokio::test]
async fn deployments_come_newest_first_and_by_environment() {
    let session = Session::of("ana").await;
    let list = |arguments: Value| session.call("list_deployments", arguments);
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
async fn a_filtered_list_of_deployments_goes_on_where_it_ended() {
    let session = Session::of("ana").await;
    let mut arguments = json!({"environment": "Production", "top": 1});
    let mut found = Vec::new();
    loop {
        let page = session
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

#[tokio::test]
async fn a_run_is_queued_exactly_as_asked() {
    let session = Session::of("ana").await;
    let arguments =
        json!({"pipeline_id": 178, "branch": "release/2.4", "parameters": {"env": "staging", "note": 7}});
    let run = session.call("trigger_pipeline_run", arguments).await.structured();
    assert_eq!(
        (&run["pipeline_id"], &run["branch"]),
        (&json!(178), &json!("release/2.4")),
        "{run}"
    );
    let record = session.world.azure().record().await.unwrap();
    let sent: Value = serde_json::from_str(record.last().unwrap().body.as_deref().unwrap()).unwrap();
    assert_eq!(
        sent,
        json!({
            "resources": {"repositories": {"self": {"refName": "refs/heads/release/2.4"}}},
            "templateParameters": {"env": "staging", "note": "7"},
        })
    );
    let newest = session
        .call("list_pipeline_runs", json!({"top": 1}))
        .await
        .structured();
    assert_eq!(newest["runs"][0]["run_id"], run["run_id"]);
}

#[tokio::test]
async fn a_run_without_a_branch_names_none() {
    let session = Session::of("ana").await;
    session
        .call("trigger_pipeline_run", json!({"pipeline_id": 178}))
        .await
        .structured();
    let record = session.world.azure().record().await.unwrap();
    assert_eq!(record.last().unwrap().body.as_deref(), Some("{}"));
}

#[tokio::test]
async fn a_pipeline_of_another_project_is_not_run_by_its_id_alone() {
    let session = Session::of("ben").await;
    // Ben may read the project payments, but this server is limited to shop.
    let text = session
        .call("trigger_pipeline_run", json!({"pipeline_id": 210}))
        .await
        .tool_error();
    assert!(text.contains("210 in project \"shop\" was not found"), "{text}");
    let record = session.world.azure().record().await.unwrap();
    assert!(record.iter().all(|call| call.method == "GET"), "{record:?}");
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let session = Session::of("carol").await;
    let text = session
        .call("trigger_pipeline_run", json!({"pipeline_id": 178}))
        .await
        .tool_error();
    assert!(
        text.contains("TF215106") && text.contains("Queue builds"),
        "{text}"
    );
    session.call("list_pipeline_runs", json!({})).await.structured();
}

#[tokio::test]
async fn a_wrong_parameter_is_relayed() {
    let session = Session::of("ana").await;
    let arguments = json!({"pipeline_id": 178, "parameters": {"env": "moon"}});
    let text = session.call("trigger_pipeline_run", arguments).await.tool_error();
    assert!(text.contains("azure-pipelines.yml"), "{text}");
}

#[tokio::test]
async fn what_is_hidden_or_absent_is_not_told_apart() {
    let session = Session::of("ana").await;
    for arguments in [json!({"run_id": 635}), json!({"run_id": 999_999})] {
        let text = session.call("get_run_failure_logs", arguments).await.tool_error();
        assert!(
            text.contains("was not found, or this user has no access"),
            "{text}"
        );
    }
    // A run of another project, by its id alone.
    let text = session
        .call("get_run_failure_logs", json!({"run_id": 617}))
        .await
        .tool_error();
    assert!(text.contains("was not found"), "{text}");
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
async fn with_several_projects_the_permitted_ones_are_named() {
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
