//! Starting runs.

use behalf_simulators::people::{ANA, BEN, CAROL};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::{Bench, send};

fn on(branch: &str) -> Value {
    json!({"resources": {"repositories": {"self": {"refName": branch}}}})
}

#[tokio::test]
async fn a_started_run_appears_in_the_builds_list_with_the_same_id() {
    let bench = Bench::start().await;
    let mut body = on("refs/heads/release/2.4");
    body["templateParameters"] = json!({"env": "staging"});
    let run = bench.run(ANA, 178, &body).await.ok().json();
    assert_eq!(run["state"], "inProgress");
    assert_eq!(run["templateParameters"], json!({"env": "staging", "note": ""}));
    assert_eq!(
        run["resources"]["repositories"]["self"]["refName"],
        "refs/heads/release/2.4"
    );
    assert!(run.get("result").is_none());
    let id = run["id"].as_u64().unwrap();
    assert!(
        run["_links"]["web"]["href"]
            .as_str()
            .unwrap()
            .ends_with(&format!("results?buildId={id}"))
    );

    assert_eq!(
        bench
            .build_ids(ANA, "queryOrder=queueTimeDescending&$top=1")
            .await,
        [id]
    );
    let build = bench
        .get(ANA, &format!("/shop/_apis/build/builds/{id}"))
        .await
        .ok()
        .json();
    assert_eq!(
        (&build["buildNumber"], &build["status"]),
        (&run["name"], &json!("notStarted"))
    );
    assert_eq!(
        (&build["reason"], &build["requestedFor"]["displayName"]),
        (&json!("manual"), &json!(ANA.display_name))
    );
    bench
        .get(ANA, &format!("/shop/_apis/build/builds/{id}/timeline"))
        .await
        .expect(204);
}

#[tokio::test]
async fn the_exact_body_is_recorded() {
    let bench = Bench::start().await;
    let body = "{ \"templateParameters\" : {\"env\":\"test\"}, \"unknown\": 1 }";
    let request = bench.request(Method::POST, "/shop/_apis/pipelines/178/runs?api-version=7.1");
    send(
        request
            .bearer_auth(bench.token(ANA))
            .header("content-type", "application/json")
            .body(body),
    )
    .await
    .ok();
    let call = bench.last_call().await;
    assert_eq!(call.body.as_deref(), Some(body));
    assert_eq!(
        (call.method.as_str(), call.object_id.as_deref()),
        ("POST", Some(ANA.object_id))
    );
    assert_eq!(
        call.route.as_deref(),
        Some("/{organization}/{project}/_apis/pipelines/{pipeline}/runs")
    );
}

#[tokio::test]
async fn a_user_who_may_not_queue_learns_the_missing_permission() {
    let bench = Bench::start().await;
    let message = bench
        .run(CAROL, 178, &on("refs/heads/main"))
        .await
        .error(403, "AccessDeniedException");
    assert_eq!(
        message,
        "TF215106: Access denied. Carol Contoso needs Queue builds permissions for build pipeline 178:shop-ci in team project shop to perform the action."
    );
    assert_eq!(
        bench
            .build_ids(ANA, "queryOrder=queueTimeDescending&$top=1")
            .await,
        [640],
        "nothing was run"
    );
}

#[rstest]
#[case::short_name(on("main"), "using ref main")]
#[case::unknown_branch(on("refs/heads/nowhere"), "using ref refs/heads/nowhere")]
#[case::unknown_parameter(json!({"templateParameters": {"colour": "red"}}), "Unexpected parameter 'colour'")]
#[case::wrong_value(json!({"templateParameters": {"env": "moon"}}), "(Line: 8, Col: 13): The 'env' parameter value 'moon'")]
#[case::unknown_stage(json!({"stagesToSkip": ["Nowhere"]}), "Stage Nowhere")]
#[case::yaml_without_preview(json!({"yamlOverride": "steps: []"}), "previewRun")]
#[case::no_commit(json!({"resources": {"repositories": {"self": {"version": "HEAD"}}}}), "HEAD is not a commit")]
#[tokio::test]
async fn values_that_the_pipeline_does_not_take_are_a_validation_error(
    #[case] body: Value,
    #[case] words: &str,
) {
    let bench = Bench::start().await;
    let message = bench
        .run(ANA, 178, &body)
        .await
        .error(400, "PipelineValidationException");
    assert!(message.contains(words), "{message}");
    assert_eq!(
        bench
            .build_ids(ANA, "queryOrder=queueTimeDescending&$top=1")
            .await,
        [640],
        "nothing was run"
    );
}

#[rstest]
#[case::number(json!({"templateParameters": {"env": 5}}))]
#[case::boolean(json!({"templateParameters": {"env": true}}))]
#[case::nested(json!({"templateParameters": {"env": {"a": "b"}}}))]
#[case::list(json!({"templateParameters": ["env"]}))]
#[case::reference_of_another_type(json!({"resources": {"repositories": {"self": {"refName": 1}}}}))]
#[case::stages_of_another_type(json!({"stagesToSkip": "Build"}))]
#[case::no_object(json!([1]))]
#[tokio::test]
async fn a_body_of_another_shape_is_400(#[case] body: Value) {
    let bench = Bench::start().await;
    bench.run(ANA, 178, &body).await.wrapped_error();
}

#[tokio::test]
async fn a_body_that_is_no_json_is_400_and_an_empty_one_runs_the_default() {
    let bench = Bench::start().await;
    let request = || {
        let request = bench.request(Method::POST, "/shop/_apis/pipelines/178/runs?api-version=7.1");
        request.bearer_auth(bench.token(ANA))
    };
    send(request().body("{\"templateParameters\":"))
        .await
        .wrapped_error();
    let run = send(request()).await.ok().json();
    assert_eq!(
        run["resources"]["repositories"]["self"]["refName"],
        "refs/heads/main"
    );
    send(request().body(vec![b' '; 2 * 1024 * 1024]))
        .await
        .expect(413);
}

#[tokio::test]
async fn variables_need_a_permission_of_their_own() {
    let bench = Bench::start().await;
    let body = json!({"variables": {"x": {"value": "1", "isSecret": false}}});
    let message = bench
        .run(ANA, 178, &body)
        .await
        .error(403, "AccessDeniedException");
    assert!(message.contains("Edit queue build configuration"), "{message}");
    bench.run(BEN, 178, &body).await.ok();
    bench.run(ANA, 178, &json!({"variables": {}})).await.ok();
}

#[tokio::test]
async fn a_disabled_or_hidden_pipeline_does_not_run() {
    let bench = Bench::start().await;
    bench
        .run(ANA, 182, &json!({}))
        .await
        .error(400, "PipelineValidationException");
    bench
        .run(ANA, 181, &json!({}))
        .await
        .error(404, "PipelineNotFoundException");
    bench
        .run(ANA, 999, &json!({}))
        .await
        .error(404, "PipelineNotFoundException");
    bench.run(BEN, 181, &json!({})).await.ok();
}

#[tokio::test]
async fn a_preview_needs_no_right_to_run_and_runs_nothing() {
    let bench = Bench::start().await;
    let path = "/shop/_apis/pipelines/178/preview?api-version=7.1";
    let body = json!({"templateParameters": {"env": "staging"}, "yamlOverride": "steps: []"});
    let yaml = bench.send(CAROL, Method::POST, path, &body).await.ok().json();
    assert!(yaml["finalYaml"].as_str().unwrap().contains("stage: Package"));
    let as_run = bench
        .run(CAROL, 178, &json!({"previewRun": true}))
        .await
        .ok()
        .json();
    assert!(as_run.get("finalYaml").is_some());
    assert_eq!(
        bench
            .build_ids(ANA, "queryOrder=queueTimeDescending&$top=1")
            .await,
        [640]
    );
}

#[tokio::test]
async fn the_list_of_runs_is_poorer_than_the_builds() {
    let bench = Bench::start().await;
    let runs = bench
        .get(ANA, "/shop/_apis/pipelines/178/runs?$top=1")
        .await
        .ok()
        .items();
    assert!(runs.len() > 5, "no paging");
    assert_eq!(runs[0]["id"], 640);
    assert!(runs[0].get("templateParameters").is_none() && runs[0].get("resources").is_none());
    let partly = bench
        .get(ANA, "/shop/_apis/pipelines/178/runs/633")
        .await
        .ok()
        .json();
    assert_eq!(
        (&partly["result"], &partly["state"]),
        (&json!("succeeded"), &json!("completed"))
    );
    assert!(partly.get("resources").is_some());
    bench
        .get(ANA, "/shop/_apis/pipelines/180/runs/633")
        .await
        .error(404, "PipelineNotFoundException");
}
