//! Tests `get_run_failure_logs`.

use behalf_simulators::azure_devops::{Action, Calls, Fault, NewBuild, PLANTED_SECRETS, Settings, Story};
use serde_json::json;

use crate::user::User;

#[tokio::test]
async fn returns_failed_tasks_with_errors_and_log_tails() {
    let user = User::sign_in("ana").await;
    let answer = user
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
    let again = user
        .call("get_run_failure_logs", json!({"run_id": 638}))
        .await
        .structured();
    assert!(!again.to_string().contains(&marker));
}

#[tokio::test]
async fn redacts_secrets_in_logs() {
    let user = User::sign_in("ana").await;
    let answer = user
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
async fn returns_earlier_attempts_of_a_retried_stage() {
    let user = User::sign_in("ana").await;
    let answer = user
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
async fn reads_only_the_end_of_a_huge_log_and_returns_its_length() {
    let user = User::sign_in("ana").await;
    let answer = user.call("get_run_failure_logs", json!({"run_id": 630})).await;
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
    let record = user.world.azure().record().await.unwrap();
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
async fn cuts_a_run_with_many_failed_steps_and_says_what_is_left_out() {
    let user = User::sign_in("ana").await;
    // Every thousandth record is a failed step with a log.
    let story = Story::Generated {
        records: 9_500,
        log_lines: 400,
    };
    let build = NewBuild::completed(178, "failed", story);
    let id = user.world.azure().add_builds(&build).await.unwrap()[0];
    let answer = user
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
async fn returns_the_same_log_tail_whether_lines_count_from_0_or_1() {
    let mut last = Vec::new();
    for first_log_line in [0, 1] {
        let user = User::sign_in("ana").await;
        let settings = Settings {
            first_log_line,
            ..Settings::default()
        };
        user.world.azure().change_settings(&settings).await.unwrap();
        let answer = user
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
async fn the_summary_of_a_run_without_failure_names_its_state() {
    let user = User::sign_in("ana").await;
    for (run, expected) in [
        (636, "succeeded"),
        (640, "has not begun"),
        (639, "not completed"),
        (632, "canceled"),
        (633, "in part"),
    ] {
        let answer = user
            .call("get_run_failure_logs", json!({"run_id": run}))
            .await
            .structured();
        let summary = answer["summary"].as_str().unwrap();
        assert!(summary.contains(expected), "{run}: {summary}");
    }
    let waiting = user
        .call("get_run_failure_logs", json!({"run_id": 637}))
        .await
        .structured();
    assert!(
        !waiting["pending_approvals"].as_array().unwrap().is_empty(),
        "{waiting}"
    );
}

#[tokio::test]
async fn answers_a_hidden_run_like_an_absent_one() {
    let user = User::sign_in("ana").await;
    for arguments in [json!({"run_id": 635}), json!({"run_id": 999_999})] {
        let text = user.call("get_run_failure_logs", arguments).await.tool_error();
        assert!(
            text.contains("was not found, or this user has no access"),
            "{text}"
        );
    }
    // A run of another project, by its id alone.
    let text = user
        .call("get_run_failure_logs", json!({"run_id": 617}))
        .await
        .tool_error();
    assert!(text.contains("was not found"), "{text}");
}

#[tokio::test]
async fn an_unreadable_log_does_not_hide_other_failures() {
    let user = User::sign_in("ana").await;
    let gone = Action::Error {
        status: 404,
        type_key: "BuildLogNotFoundException".to_owned(),
        message: "The log is gone.".to_owned(),
    };
    user.fault(Fault::always(gone).on(Calls::to("/logs/"))).await;
    let answer = user
        .call("get_run_failure_logs", json!({"run_id": 638}))
        .await
        .structured();
    let failure = &answer["failures"][0];
    assert!(
        failure["log_note"]
            .as_str()
            .unwrap()
            .contains("could not be read"),
        "{failure}"
    );
    assert!(!failure["issues"].as_array().unwrap().is_empty());
}
