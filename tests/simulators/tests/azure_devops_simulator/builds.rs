//! Lists of builds, single builds, and what belongs to one.

use behalf_simulators::{
    azure_devops::{NewBuild, Story},
    people::{ANA, BEN},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::Bench;

#[tokio::test]
async fn the_default_order_hides_running_builds_from_a_short_page() {
    let bench = Bench::start().await;
    let without_order = bench.build_ids(ANA, "$top=3").await;
    assert!(
        !without_order.contains(&639) && !without_order.contains(&640),
        "{without_order:?}"
    );
    assert_eq!(
        bench
            .build_ids(ANA, "$top=3&queryOrder=queueTimeDescending")
            .await,
        [640, 639, 638]
    );
    assert_eq!(
        bench.build_ids(ANA, "$top=2&queryOrder=queueTimeAscending").await,
        [625, 626]
    );
}

#[tokio::test]
async fn unknown_things_are_absent_not_null() {
    let bench = Bench::start().await;
    let queued = bench.get(ANA, "/shop/_apis/build/builds/640").await.ok().json();
    for key in ["result", "startTime", "finishTime"] {
        assert!(queued.get(key).is_none(), "{key}");
    }
    let running = bench.get(ANA, "/shop/_apis/build/builds/639").await.ok().json();
    assert!(running.get("startTime").is_some() && running.get("finishTime").is_none());
    let done = bench.get(ANA, "/shop/_apis/build/builds/638").await.ok().json();
    assert_eq!(
        (&done["status"], &done["result"]),
        (&json!("completed"), &json!("failed"))
    );
    assert_eq!(
        done["repository"]["clean"],
        Value::Null,
        "and some things are null"
    );
}

#[tokio::test]
async fn dates_have_as_many_digits_as_they_need() {
    let bench = Bench::start().await;
    let build = bench.get(ANA, "/shop/_apis/build/builds/638").await.ok().json();
    let digits = |key: &str| {
        let date = build[key].as_str().unwrap().trim_end_matches('Z').to_owned();
        date.split_once('.').map_or(0, |(_, fraction)| fraction.len())
    };
    assert_eq!(
        (digits("queueTime"), digits("startTime"), digits("finishTime")),
        (7, 2, 1)
    );
}

#[tokio::test]
async fn parameters_are_json_in_a_string_and_the_description_is_heavy() {
    let bench = Bench::start().await;
    let build = bench.get(ANA, "/shop/_apis/build/builds/638").await.ok();
    let parameters: Value = serde_json::from_str(build.json()["parameters"].as_str().unwrap()).unwrap();
    assert_eq!(parameters, json!({"env": "test"}));
    assert!(build.body.len() > 3_000);
    assert_eq!(build.json()["requestedFor"]["uniqueName"], ANA.user_name);
}

#[rstest]
#[case("definitions=178&statusFilter=inProgress,notStarted", &[640, 639])]
#[case("statusFilter=NOTSTARTED", &[640])]
#[case("resultFilter=failed", &[638, 634, 630])]
#[case("definitions=178,180&resultFilter=failed", &[638, 634])]
#[case("buildIds=634,635,638", &[638, 634])]
#[case("branchName=refs/heads/feature/basket", &[640, 633, 632])]
#[case("branchName=refs/heads/fea*", &[640, 633, 632])]
#[case("branchName=feature/basket", &[])]
#[case("reasonFilter=schedule", &[630])]
#[case("tagFilters=basket", &[638])]
#[case("requestedFor=ana@contoso.example&resultFilter=failed", &[638, 634])]
#[case("definitions=178&maxBuildsPerDefinition=1", &[640])]
#[case("deletedFilter=onlyDeleted", &[])]
#[tokio::test]
async fn filters(#[case] query: &str, #[case] expected: &[u64]) {
    let bench = Bench::start().await;
    assert_eq!(
        bench
            .build_ids(ANA, &format!("{query}&queryOrder=queueTimeDescending"))
            .await,
        expected
    );
}

#[tokio::test]
async fn times_limit_the_field_of_the_order() {
    let bench = Bench::start().await;
    let since = "minTime=2026-04-01T11:30:00Z";
    assert_eq!(
        bench
            .build_ids(ANA, &format!("{since}&queryOrder=queueTimeDescending"))
            .await,
        [640, 639, 638]
    );
    // An unfinished build has no finish time.
    assert_eq!(
        bench
            .build_ids(ANA, &format!("{since}&queryOrder=finishTimeDescending"))
            .await,
        [638]
    );
}

#[rstest]
#[case("statusFilter=sleeping")]
#[case("definitions=shop-ci")]
#[case("$top=many")]
#[case("minTime=yesterday")]
#[case("queryOrder=newest")]
#[tokio::test]
async fn unreadable_queries_are_400_in_the_wrapped_shape(#[case] query: &str) {
    let bench = Bench::start().await;
    let message = bench
        .get(ANA, &format!("/shop/_apis/build/builds?{query}"))
        .await
        .wrapped_error();
    assert!(message.contains("is not valid for"), "{message}");
}

#[tokio::test]
async fn pages_are_limited_and_zero_is_refused() {
    let bench = Bench::start().await;
    let many = NewBuild {
        copies: 1_200,
        ..NewBuild::completed(178, "succeeded", Story::Succeeded)
    };
    bench.control.add_builds(&many).await.unwrap();
    assert_eq!(bench.build_ids(ANA, "").await.len(), 1_000, "the default");
    assert_eq!(bench.build_ids(ANA, "$top=99999").await.len(), 1_213);
    bench
        .get(ANA, "/shop/_apis/build/builds?$top=0")
        .await
        .error(400, "VssPropertyValidationException");
}

#[tokio::test]
async fn continuation_tokens_survive_only_when_they_are_encoded() {
    let bench = Bench::start().await;
    let all = bench.build_ids(ANA, "queryOrder=queueTimeDescending").await;
    let mut walked = Vec::new();
    let mut path = "/shop/_apis/build/builds?$top=4&queryOrder=queueTimeDescending".to_owned();
    loop {
        let page = bench.get(ANA, &path).await.ok();
        walked.extend(page.items().iter().map(|build| build["id"].as_u64().unwrap()));
        let token = page.header("x-ms-continuationtoken").to_owned();
        if token.is_empty() {
            break;
        }
        let raw = format!("/shop/_apis/build/builds?$top=4&continuationToken={token}");
        bench
            .get(ANA, &raw)
            .await
            .error(400, "VssPropertyValidationException");
        let encoded = utf8_percent_encode(&token, NON_ALPHANUMERIC);
        path = format!(
            "/shop/_apis/build/builds?$top=4&queryOrder=queueTimeDescending&continuationToken={encoded}"
        );
    }
    assert_eq!(walked, all);
}

#[tokio::test]
async fn unknown_enum_values_occur() {
    let bench = Bench::start().await;
    assert_eq!(
        bench.get(ANA, "/shop/_apis/build/builds/636").await.ok().json()["reason"],
        "mergeQueue"
    );
    let new = NewBuild {
        status: "hibernating".to_owned(),
        result: None,
        ..NewBuild::completed(178, "", Story::Running)
    };
    let ids = bench.control.add_builds(&new).await.unwrap();
    let build = bench
        .get(ANA, &format!("/shop/_apis/build/builds/{}", ids[0]))
        .await
        .ok()
        .json();
    assert_eq!(build["status"], "hibernating");
}

#[tokio::test]
async fn a_hidden_definition_hides_its_builds_too() {
    let bench = Bench::start().await;
    assert_eq!(bench.build_ids(ANA, "definitions=181").await, [0_u64; 0]);
    assert_eq!(bench.build_ids(BEN, "definitions=181").await, [635]);
    let message = bench
        .get(ANA, "/shop/_apis/build/builds/635")
        .await
        .error(404, "BuildNotFoundException");
    assert_eq!(message, "The requested build 635 could not be found.");
    bench
        .get(ANA, "/shop/_apis/build/definitions/181")
        .await
        .error(404, "DefinitionNotFoundException");
    // The path names one project. A build of another project is not found.
    bench
        .get(BEN, "/shop/_apis/build/builds/617")
        .await
        .error(404, "BuildNotFoundException");
    bench.get(BEN, "/payments/_apis/build/builds/617").await.ok();
}

#[tokio::test]
async fn numbers_in_a_path_must_be_numbers() {
    let bench = Bench::start().await;
    for id in ["abc", "-1", "99999999999999999999"] {
        bench
            .get(ANA, &format!("/shop/_apis/build/builds/{id}"))
            .await
            .wrapped_error();
    }
}

#[tokio::test]
async fn a_byte_order_mark_leads_every_json_body_when_asked_for() {
    let bench = Bench::start().await;
    bench.settings(|settings| settings.byte_order_mark = true).await;
    for path in ["/shop/_apis/build/builds/638", "/shop/_apis/build/builds/1"] {
        let answer = bench.get(ANA, path).await;
        assert!(answer.body.starts_with(b"\xEF\xBB\xBF{"));
        assert!(serde_json::from_slice::<Value>(&answer.body[3..]).is_ok());
    }
}

#[tokio::test]
async fn the_latest_build_is_the_last_completed_one() {
    let bench = Bench::start().await;
    let latest = |query: &str| format!("/shop/_apis/build/latest/{query}api-version=7.1-preview.1");
    assert_eq!(bench.get(ANA, &latest("178?")).await.ok().json()["id"], 638);
    assert_eq!(
        bench
            .get(ANA, &latest("shop-ci?branchName=release/2.4&"))
            .await
            .ok()
            .json()["id"],
        634
    );
    bench
        .get(ANA, &latest("179?branchName=none&"))
        .await
        .error(404, "BuildNotFoundException");
}

#[tokio::test]
async fn changes_report_and_artifacts() {
    let bench = Bench::start().await;
    let changes = bench
        .get(ANA, "/shop/_apis/build/builds/638/changes")
        .await
        .ok()
        .items();
    assert_eq!(changes.len(), 2);
    let between = bench
        .get(ANA, "/shop/_apis/build/changes?fromBuildId=632&toBuildId=634")
        .await
        .ok()
        .items();
    assert_eq!(between.len(), 2);
    let report = bench
        .get(ANA, "/shop/_apis/build/builds/638/report?type=html")
        .await
        .ok()
        .json();
    assert_eq!(
        (&report["buildId"], &report["type"]),
        (&json!(638), &json!("html"))
    );
    let artifacts = bench
        .get(ANA, "/shop/_apis/build/builds/636/artifacts")
        .await
        .ok()
        .items();
    assert!(
        artifacts[0]["resource"]["downloadUrl"]
            .as_str()
            .unwrap()
            .contains("sig=FAKE-signature")
    );
    let run = "/shop/_apis/pipelines/178/runs/636/artifacts?artifactName=drop&$expand=signedContent";
    assert!(bench.get(ANA, run).await.ok().json()["signedContent"]["url"].is_string());
}
