//! Definitions, which another API calls pipelines.

use behalf_simulators::people::ANA;
use rstest::rstest;
use serde_json::json;

use crate::fixture::Bench;

#[rstest]
#[case("", &["shop-ci", "shop-nightly", "shop-cd", "shop-legacy"])]
#[case("name=shop-c*", &["shop-ci", "shop-cd"])]
#[case("name=shop-ci", &["shop-ci"])]
#[case("path=\\nightly", &["shop-nightly"])]
#[case("definitionIds=178,181", &["shop-ci"])]
#[case("queryOrder=definitionNameDescending&$top=2", &["shop-nightly", "shop-legacy"])]
#[case("includeAllProperties=true&yamlFilename=azure-pipelines.yml", &["shop-ci"])]
#[case("builtAfter=2026-04-01T11:00:00Z", &["shop-ci", "shop-cd"])]
#[tokio::test]
async fn definitions(#[case] query: &str, #[case] expected: &[&str]) {
    let bench = Bench::start().await;
    let items = bench
        .get(ANA, &format!("/shop/_apis/build/definitions?{query}"))
        .await
        .ok()
        .items();
    let names: Vec<&str> = items
        .iter()
        .map(|definition| definition["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn definitions_bring_their_latest_builds_only_on_request() {
    let bench = Bench::start().await;
    let path = "/shop/_apis/build/definitions?name=shop-ci";
    let plain = bench.get(ANA, path).await.ok().items();
    assert!(plain[0].get("latestBuild").is_none());
    let with = bench
        .get(ANA, &format!("{path}&includeLatestBuilds=true"))
        .await
        .ok()
        .items();
    assert_eq!(
        (
            &with[0]["latestBuild"]["id"],
            &with[0]["latestCompletedBuild"]["id"]
        ),
        (&json!(640), &json!(638))
    );
    let wrong = bench
        .get(
            ANA,
            "/shop/_apis/build/definitions?yamlFilename=azure-pipelines.yml",
        )
        .await;
    wrong.error(400, "VssPropertyValidationException");
}

#[tokio::test]
async fn pipelines_are_the_definitions_of_another_api() {
    let bench = Bench::start().await;
    let first = bench
        .get(ANA, "/shop/_apis/pipelines?orderBy=name asc&$top=2")
        .await
        .ok();
    assert_eq!(first.items()[0]["name"], "shop-cd");
    assert_eq!(first.header("x-ms-continuationtoken"), "2");
    let pipeline = bench.get(ANA, "/shop/_apis/pipelines/178").await.ok().json();
    assert_eq!(pipeline["configuration"]["path"], "azure-pipelines.yml");
    bench
        .get(ANA, "/shop/_apis/pipelines/999")
        .await
        .error(404, "PipelineNotFoundException");
}
