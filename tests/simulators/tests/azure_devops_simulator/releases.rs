//! Classic releases and environments.

use behalf_simulators::people::{ANA, BEN};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::{Bench, send};

const DEPLOYMENTS: &str = "/shop/_apis/release/deployments";

fn ids(items: &[Value]) -> Vec<u64> {
    items.iter().map(|item| item["id"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn the_same_call_shows_each_user_their_own_deployments() {
    let bench = Bench::start().await;
    let of_ana = bench.get_release(ANA, DEPLOYMENTS).await.ok().items();
    assert_eq!(ids(&of_ana), [54, 53, 52, 51, 50, 48, 47, 46, 45]);
    let of_ben = bench.get_release(BEN, DEPLOYMENTS).await.ok().items();
    assert!(ids(&of_ben).contains(&49));
}

#[tokio::test]
async fn operation_status_is_pascal_case_and_dates_can_be_null() {
    let bench = Bench::start().await;
    let items = bench.get_release(ANA, DEPLOYMENTS).await.ok().items();
    let of = |id: u64| items.iter().find(|item| item["id"] == id).unwrap();
    assert_eq!(
        (&of(50)["deploymentStatus"], &of(50)["operationStatus"]),
        (&json!("failed"), &json!("PhaseFailed"))
    );
    assert_eq!(
        of(51)["deploymentStatus"],
        "notDeployed",
        "with PhaseFailed, as in Microsoft's example"
    );
    assert_eq!(
        of(54)["operationStatus"],
        "AwaitingSlotSwap",
        "unknown to every list"
    );
    assert_eq!(of(53)["startedOn"], "0001-01-01T00:00:00", "no Z");
    assert_eq!(of(51)["queuedOn"], "0001-01-01T00:00:00");
    assert!(of(54).get("completedOn").is_none() && of(52).get("completedOn").is_some());
}

#[rstest]
#[case("definitionId=4&deploymentStatus=failed", &[50])]
#[case("deploymentStatus=NOTDEPLOYED", &[53, 51, 48])]
#[case("operationStatus=phaseFailed", &[51, 50])]
#[case("definitionEnvironmentId=13", &[53, 48, 46])]
#[case("definitionEnvironmentId=12&latestAttemptsOnly=true", &[54, 52, 51, 47, 45])]
#[case("queryOrder=ascending&$top=2", &[45, 46])]
#[case("minStartedTime=2026-04-01T10:30:00Z", &[54, 52])]
#[case("createdFor=ben@contoso.example", &[53, 48, 46])]
#[case("sourceBranch=refs/heads/none", &[])]
#[tokio::test]
async fn deployments_can_be_filtered(#[case] query: &str, #[case] expected: &[u64]) {
    let bench = Bench::start().await;
    let items = bench
        .get_release(ANA, &format!("{DEPLOYMENTS}?{query}"))
        .await
        .ok()
        .items();
    assert_eq!(ids(&items), expected);
}

#[tokio::test]
async fn deployments_page_with_an_int_token() {
    let bench = Bench::start().await;
    let mut walked = Vec::new();
    let mut path = format!("{DEPLOYMENTS}?$top=4");
    loop {
        let page = bench.get_release(ANA, &path).await.ok();
        walked.extend(ids(&page.items()));
        let token = page.header("x-ms-continuationtoken");
        if token.is_empty() {
            break;
        }
        path = format!(
            "{DEPLOYMENTS}?$top=4&continuationToken={}",
            token.parse::<u32>().unwrap()
        );
    }
    assert_eq!(walked, [54, 53, 52, 51, 50, 48, 47, 46, 45]);
    bench
        .get_release(ANA, &format!("{DEPLOYMENTS}?operationStatus=AwaitingSlotSwap"))
        .await
        .wrapped_error();
}

#[tokio::test]
async fn a_user_who_may_not_view_releases_is_refused() {
    let bench = Bench::start().await;
    bench
        .permissions(ANA, |permissions| permissions.view_releases = false)
        .await;
    for path in [
        DEPLOYMENTS,
        "/shop/_apis/release/releases",
        "/shop/_apis/release/releases/30",
    ] {
        let message = bench
            .get_release(ANA, path)
            .await
            .error(403, "AccessDeniedException");
        assert!(message.contains("View releases"));
    }
}

#[tokio::test]
async fn releases_carry_their_environments_on_request() {
    let bench = Bench::start().await;
    let path = "/shop/_apis/release/releases";
    let plain = bench.get_release(ANA, path).await.ok().items();
    assert_eq!(ids(&plain), [32, 31, 30, 28, 27]);
    assert!(plain[0].get("environments").is_none());
    assert!(
        !plain[0]["createdOn"].as_str().unwrap().ends_with('Z'),
        "some services omit the offset"
    );
    let expanded = bench
        .get_release(ANA, &format!("{path}?$expand=environments&releaseIdFilter=30"))
        .await
        .ok()
        .items();
    let environment = &expanded[0]["environments"][0];
    assert_eq!(
        (&environment["name"], &environment["status"]),
        (&json!("Staging"), &json!("rejected"))
    );
    assert_eq!(
        environment["deploySteps"].as_array().unwrap().len(),
        2,
        "both attempts"
    );

    let release = bench.get_release(ANA, &format!("{path}/30")).await.ok().json();
    let id = &release["environments"][0]["id"];
    let one = bench
        .get_release(ANA, &format!("{path}/30/environments/{id}"))
        .await
        .ok()
        .json();
    assert_eq!(&one["id"], id);
    bench
        .get_release(ANA, &format!("{path}/29"))
        .await
        .error(404, "ReleaseNotFoundException");
    bench.get_release(BEN, &format!("{path}/29")).await.ok();
    bench
        .get_release(ANA, &format!("{path}/30/environments/1"))
        .await
        .error(404, "ReleaseEnvironmentNotFoundException");
    let log = format!("{path}/30/environments/{id}/deployPhases/1/tasks/3/logs?startLine=2");
    assert!(
        bench
            .get_release(ANA, &log)
            .await
            .ok()
            .text()
            .contains("##[error]Slot swap timed out")
    );
}

#[tokio::test]
async fn releases_have_a_page_limit_and_filters() {
    let bench = Bench::start().await;
    let path = "/shop/_apis/release/releases";
    for (query, expected) in [
        ("artifactVersionId=636", &[31][..]),
        ("definitionEnvironmentId=13&queryOrder=ascending", &[27, 28, 31]),
        ("searchText=release-3&$top=1", &[32]),
        ("statusFilter=abandoned", &[]),
        ("continuationToken=30", &[30, 28, 27]),
    ] {
        assert_eq!(
            ids(&bench
                .get_release(ANA, &format!("{path}?{query}"))
                .await
                .ok()
                .items()),
            expected,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_release_approval_is_its_approvers_and_moves_the_deployment() {
    let bench = Bench::start().await;
    let pending = bench
        .get_release(BEN, "/shop/_apis/release/approvals")
        .await
        .ok()
        .items();
    assert_eq!(ids(&pending), [71]);
    let base = bench.simulator.release_url();
    let decide = |person| {
        let path = "/shop/_apis/release/approvals/71?api-version=7.1";
        let body = json!({"status": "approved", "comments": "go"});
        send(
            bench
                .request_to(&base, Method::PATCH, path)
                .bearer_auth(bench.token(person))
                .json(&body),
        )
    };
    decide(ANA).await.error(403, "AccessDeniedException");
    decide(BEN).await.ok();
    decide(BEN).await.error(400, "VssPropertyValidationException");
    let items = bench
        .get_release(ANA, &format!("{DEPLOYMENTS}?operationStatus=queuedForAgent"))
        .await
        .ok()
        .items();
    assert_eq!(ids(&items), [53]);
    assert_eq!(bench.last_call().await.body, None);
}

#[tokio::test]
async fn environments_exist_twice_and_their_records_count_with_top_without_dollar() {
    let bench = Bench::start().await;
    let old = bench
        .get(ANA, "/shop/_apis/distributedtask/environments?name=Prod*")
        .await
        .ok()
        .items();
    assert_eq!(ids(&old), [4]);
    let new = bench
        .get(
            ANA,
            "/shop/_apis/pipelines/environments?api-version=7.2-preview.1",
        )
        .await
        .ok()
        .items();
    assert_eq!(ids(&new), [3, 4]);
    bench
        .get(ANA, "/shop/_apis/pipelines/environments?api-version=7.1")
        .await
        .error(400, "VssInvalidPreviewVersionException");
    let one = bench
        .get(
            ANA,
            "/shop/_apis/distributedtask/environments/3?expands=resourceReferences",
        )
        .await
        .ok();
    assert_eq!(one.json()["resources"].as_array().unwrap().len(), 1);
    bench
        .get(ANA, "/shop/_apis/distributedtask/environments/6")
        .await
        .error(404, "EnvironmentNotFoundException");

    let records = "/shop/_apis/distributedtask/environments/3/environmentdeploymentrecords";
    assert_eq!(
        bench
            .get(ANA, &format!("{records}?$top=1"))
            .await
            .ok()
            .items()
            .len(),
        2,
        "$top is not known"
    );
    let first = bench.get(ANA, &format!("{records}?top=1")).await.ok();
    assert_eq!(
        (&first.items()[0]["id"], &first.items()[0]["owner"]["id"]),
        (&json!(901), &json!(637))
    );
    let token = first.header("x-ms-continuationtoken");
    let second = bench
        .get(ANA, &format!("{records}?top=1&continuationToken={token}"))
        .await
        .ok();
    assert_eq!(ids(&second.items()), [900]);
}
