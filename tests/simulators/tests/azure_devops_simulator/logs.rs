//! Logs.

use behalf_simulators::{
    azure_devops::{NewBuild, PLANTED_INSTRUCTIONS, PLANTED_SECRETS, Story},
    people::ANA,
};
use reqwest::Method;
use rstest::rstest;
use serde_json::Value;

use crate::fixture::{Answer, Bench, send};

const LOG: &str = "/shop/_apis/build/builds/638/logs/9";

async fn text(bench: &Bench, path: &str) -> Answer {
    accepting(bench, path, "text/plain").await
}

async fn accepting(bench: &Bench, path: &str, accept: &str) -> Answer {
    let request = bench
        .bare_request(&bench.simulator.core_url(), Method::GET, path)
        .header("accept", accept);
    send(request.bearer_auth(bench.token(ANA))).await
}

#[tokio::test]
async fn the_list_tells_how_long_each_log_is() {
    let bench = Bench::start().await;
    let logs = bench
        .get(ANA, "/shop/_apis/build/builds/638/logs")
        .await
        .ok()
        .items();
    let log = logs.iter().find(|log| log["id"] == 9).unwrap();
    assert_eq!(
        (&log["lineCount"], &log["type"]),
        (&420.into(), &"Container".into())
    );
    let whole = text(&bench, LOG).await.ok();
    assert_eq!(whole.text().lines().count(), 420);
    assert!(whole.header("content-type").starts_with("text/plain"));
}

#[tokio::test]
async fn a_range_is_the_same_as_text_and_as_json() {
    let bench = Bench::start().await;
    let path = format!("{LOG}?startLine=416&endLine=418");
    let as_json = bench.get(ANA, &path).await.ok();
    let lines: Vec<String> = as_json
        .items()
        .iter()
        .map(|line| line.as_str().unwrap().to_owned())
        .collect();
    let as_text = text(&bench, &path).await.ok().text();
    assert_eq!(as_text.lines().collect::<Vec<_>>(), lines);
    assert_eq!(lines.len(), 3);
    assert!(lines[0].ends_with("##[error]src/basket.rs(99,5): error E0308: mismatched types"));
    assert_eq!(
        lines[0].split_once(' ').unwrap().0.len(),
        "2026-04-01T10:50:50.0210666Z".len()
    );
}

/// The line number is 417, counted from 1; the range's base and end are not documented.
#[rstest]
#[case(0, true, "startLine=416&endLine=416")]
#[case(1, true, "startLine=417&endLine=417")]
#[case(0, false, "startLine=416&endLine=417")]
#[case(1, false, "startLine=417&endLine=418")]
#[tokio::test]
async fn base_and_end_of_a_range_can_be_either(
    #[case] first: u64,
    #[case] inclusive: bool,
    #[case] query: &str,
) {
    let bench = Bench::start().await;
    bench
        .settings(|settings| {
            settings.first_log_line = first;
            settings.end_line_inclusive = inclusive;
        })
        .await;
    let lines = bench.get(ANA, &format!("{LOG}?{query}")).await.ok().items();
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0]
            .as_str()
            .unwrap()
            .contains("##[error]src/basket.rs(99,5)")
    );
}

#[tokio::test]
async fn a_range_outside_of_the_log_is_empty() {
    let bench = Bench::start().await;
    for query in [
        "startLine=5000",
        "startLine=10&endLine=5",
        "startLine=5000&endLine=6000",
    ] {
        assert_eq!(
            bench.get(ANA, &format!("{LOG}?{query}")).await.ok().items(),
            Vec::<Value>::new()
        );
        assert_eq!(text(&bench, &format!("{LOG}?{query}")).await.ok().body, b"");
    }
    bench
        .get(ANA, &format!("{LOG}?startLine=one"))
        .await
        .wrapped_error();
    bench
        .get(ANA, "/shop/_apis/build/builds/638/logs/99")
        .await
        .error(404, "BuildLogNotFoundException");
}

#[tokio::test]
async fn the_failed_log_holds_markers_secrets_and_instructions() {
    let bench = Bench::start().await;
    let log = text(&bench, LOG).await.ok().text();
    let planted = bench.control.planted().await.unwrap();
    assert_eq!(planted.secrets, PLANTED_SECRETS);
    assert_eq!(planted.instructions, PLANTED_INSTRUCTIONS);
    for words in planted.secrets.iter().chain(&planted.instructions) {
        assert!(log.contains(words), "{words}");
    }
    for marker in [
        "section", "error", "warning", "command", "debug", "group", "endgroup",
    ] {
        assert!(log.contains(&format!("##[{marker}]")), "{marker}");
    }
    assert!(
        log.contains("REGISTRY_PASSWORD=***"),
        "what the service knows, it masks"
    );
}

#[tokio::test]
async fn a_big_log_is_made_while_it_is_read() {
    let bench = Bench::start().await;
    let story = Story::Generated {
        records: 4,
        log_lines: 120_000,
    };
    let ids = bench
        .control
        .add_builds(&NewBuild::completed(178, "failed", story))
        .await
        .unwrap();
    let base = format!("/shop/_apis/build/builds/{}/logs", ids[0]);
    assert_eq!(bench.get(ANA, &base).await.ok().items()[0]["lineCount"], 120_000);
    let whole = text(&bench, &format!("{base}/7")).await.ok();
    assert!(whole.body.len() > 10_000_000, "{}", whole.body.len());
    let tail = text(&bench, &format!("{base}/7?startLine=119999"))
        .await
        .ok()
        .text();
    assert_eq!(whole.text().lines().last(), tail.lines().next());
    // The service sends the tail of a log of 100 MB without building the whole log.
    let story = Story::Generated {
        records: 4,
        log_lines: 1_000_000,
    };
    let ids = bench
        .control
        .add_builds(&NewBuild::completed(178, "failed", story))
        .await
        .unwrap();
    let path = format!("/shop/_apis/build/builds/{}/logs/7?startLine=999990", ids[0]);
    assert_eq!(bench.get(ANA, &path).await.ok().items().len(), 10);
}

#[tokio::test]
async fn the_logs_of_a_run_can_come_with_addresses_that_need_no_token() {
    let bench = Bench::start().await;
    let path = "/shop/_apis/pipelines/178/runs/638/logs";
    let plain = bench.get(ANA, path).await.ok().json();
    assert!(plain["logs"][0].get("signedContent").is_none());
    let signed = bench
        .get(ANA, &format!("{path}?$expand=signedContent"))
        .await
        .ok()
        .json();
    assert!(
        signed["logs"][0]["signedContent"]["url"]
            .as_str()
            .unwrap()
            .contains("sig=FAKE-signature")
    );
}

#[tokio::test]
async fn logs_of_a_queued_build_are_an_empty_list() {
    let bench = Bench::start().await;
    assert!(
        bench
            .get(ANA, "/shop/_apis/build/builds/640/logs")
            .await
            .ok()
            .items()
            .is_empty()
    );
}

#[rstest]
#[case("text/plain", "text/plain")]
#[case("text/plain, application/json;q=0.5", "text/plain")]
#[case("application/json;api-version=7.1", "application/json")]
#[case("*/*", "application/json")]
#[tokio::test]
async fn the_first_type_asked_for_is_the_type_of_a_log(#[case] accept: &str, #[case] expected: &str) {
    let bench = Bench::start().await;
    let answer = accepting(&bench, LOG, accept).await.ok();
    assert!(answer.header("content-type").starts_with(expected));
}

#[tokio::test]
async fn archives_of_logs_are_not_modelled_and_said_so() {
    let bench = Bench::start().await;
    let answer = accepting(&bench, "/shop/_apis/build/builds/638/logs", "application/zip").await;
    assert!(answer.wrapped_error().contains("archive"));
}
