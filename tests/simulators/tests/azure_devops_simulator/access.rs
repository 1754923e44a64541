//! Projects, hidden things, versions and paths.

use behalf_simulators::azure_devops::{OTHER_TENANT_ID, OrganizationTenant};
use behalf_simulators::people::{ANA, BEN, CAROL, TENANT_ID};
use reqwest::Method;
use rstest::rstest;
use serde_json::json;

use crate::fixture::{Bench, send};

#[tokio::test]
async fn the_same_call_shows_each_user_their_own_projects() {
    let bench = Bench::start().await;
    for (person, expected) in [
        (ANA, vec!["shop"]),
        (BEN, vec!["shop", "payments"]),
        (CAROL, vec!["shop"]),
    ] {
        let items = bench.get(person, "/_apis/projects").await.ok().items();
        let names: Vec<&str> = items
            .iter()
            .map(|project| project["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn projects_page_with_an_int_token() {
    let bench = Bench::start().await;
    let first = bench.get(BEN, "/_apis/projects?$top=1").await.ok();
    assert_eq!(
        first.items()[0]["visibility"],
        "organization",
        "a value that the spec does not list"
    );
    let token = first.header("x-ms-continuationtoken").to_owned();
    let second = bench
        .get(BEN, &format!("/_apis/projects?$top=1&continuationToken={token}"))
        .await
        .ok();
    assert_eq!(second.items()[0]["name"], "payments");
    assert!(
        second.headers.get("x-ms-continuationtoken").is_none(),
        "no header on the last page"
    );
    assert_eq!(
        bench.get(BEN, "/_apis/projects?$skip=1").await.ok().items().len(),
        1
    );
}

#[tokio::test]
async fn a_hidden_project_is_400_from_build_and_404_elsewhere_like_an_absent_one() {
    let bench = Bench::start().await;
    for project in ["payments", "nowhere"] {
        let build = bench.get(ANA, &format!("/{project}/_apis/build/builds")).await;
        assert!(
            build
                .error(400, "ProjectDoesNotExistException")
                .starts_with("VS800075")
        );
        for path in [
            format!("/_apis/projects/{project}"),
            format!("/{project}/_apis/pipelines"),
        ] {
            let message = bench
                .get(ANA, &path)
                .await
                .error(404, "ProjectDoesNotExistWithNameException");
            assert!(message.starts_with("TF200016"));
        }
        let release = bench
            .get_release(ANA, &format!("/{project}/_apis/release/deployments"))
            .await;
        release.error(404, "ProjectDoesNotExistWithNameException");
    }
    bench.get(BEN, "/payments/_apis/build/builds").await.ok();
}

#[tokio::test]
async fn a_permission_taken_away_counts_at_the_next_call() {
    let bench = Bench::start().await;
    bench.get(ANA, "/shop/_apis/build/builds/638").await.ok();
    bench
        .permissions(ANA, |permissions| permissions.projects.clear())
        .await;
    bench
        .get(ANA, "/shop/_apis/build/builds/638")
        .await
        .error(400, "ProjectDoesNotExistException");
}

#[tokio::test]
async fn a_project_goes_by_name_or_id_and_paths_by_any_case() {
    let bench = Bench::start().await;
    let id = bench.get(ANA, "/_apis/projects/SHOP").await.ok().json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    bench
        .get(ANA, &format!("/{id}/_apis/build/Builds/638/Timeline"))
        .await
        .ok();
    assert_eq!(
        bench.last_call().await.path,
        format!("/contoso/{id}/_apis/build/Builds/638/Timeline")
    );
}

#[tokio::test]
async fn empty_lists_hide_everything_and_look_like_nothing() {
    let bench = Bench::start().await;
    bench
        .permissions(ANA, |permissions| permissions.empty_lists = true)
        .await;
    let answer = bench.get(ANA, "/shop/_apis/build/builds?$top=2").await.ok();
    assert_eq!(answer.json(), json!({"count": 0, "value": []}));
    assert!(answer.headers.get("x-ms-continuationtoken").is_none());
    bench.get(ANA, "/shop/_apis/build/builds/638").await.ok();
    assert_ne!(
        bench
            .get(BEN, "/shop/_apis/build/builds")
            .await
            .ok()
            .items()
            .len(),
        0
    );
}

#[tokio::test]
async fn the_tenant_probe_needs_no_token() {
    let bench = Bench::start().await;
    let identity = send(bench.request_to(&bench.simulator.identity_url(), Method::HEAD, ""))
        .await
        .expect(404);
    assert_eq!(identity.header("x-vss-resourcetenant"), TENANT_ID);
    let core = send(bench.request(Method::HEAD, "")).await.expect(401);
    assert_eq!(core.header("x-vss-resourcetenant"), TENANT_ID);
    assert!(core.header("www-authenticate").ends_with(TENANT_ID));
}

#[tokio::test]
async fn the_tenant_probe_names_the_tenant_of_the_settings() {
    let bench = Bench::start().await;
    let nil = "00000000-0000-0000-0000-000000000000";
    for (organization_tenant, expected) in [
        (OrganizationTenant::Other, OTHER_TENANT_ID),
        (OrganizationTenant::None, nil),
        (OrganizationTenant::Own, TENANT_ID),
    ] {
        bench
            .settings(|settings| settings.organization_tenant = organization_tenant)
            .await;
        let probe = send(bench.request(Method::HEAD, "")).await.expect(401);
        assert_eq!(probe.header("x-vss-resourcetenant"), expected);
        assert!(probe.header("www-authenticate").ends_with(expected));
    }
}

#[tokio::test]
async fn each_service_answers_its_own_paths_only() {
    let bench = Bench::start().await;
    bench
        .get(ANA, "/shop/_apis/release/deployments")
        .await
        .error(404, "HttpException");
    bench
        .get_release(ANA, "/shop/_apis/build/builds")
        .await
        .error(404, "HttpException");
    assert_eq!(bench.last_call().await.host, "release");
}

#[tokio::test]
async fn unknown_organizations_paths_and_methods_are_refused() {
    let bench = Bench::start().await;
    let base = bench.simulator.core_url();
    let elsewhere = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .get(base.join("fabrikam/_apis/projects").unwrap());
    let answer = send(elsewhere.bearer_auth(bench.token(ANA))).await.expect(404);
    assert!(answer.header("content-type").starts_with("text/html"));
    bench
        .get(ANA, "/shop/_apis/nothing")
        .await
        .error(404, "HttpException");
    let answer = bench
        .send(
            ANA,
            Method::DELETE,
            "/shop/_apis/build/builds/638?api-version=7.1",
            &json!({}),
        )
        .await;
    assert!(
        answer.expect(405).json()["value"]["Message"]
            .as_str()
            .unwrap()
            .contains("'DELETE'")
    );
}

#[rstest]
#[case("/_apis/projects?api-version=7.1", None)]
#[case("/_apis/projects", None)]
#[case("/_apis/projects?api-version=7.2", Some("VssInvalidPreviewVersionException"))]
#[case("/_apis/projects?api-version=7.2-preview.4", None)]
#[case("/_apis/projects?api-version=12.0", Some("VssVersionOutOfRangeException"))]
#[case(
    "/_apis/projects?api-version=new",
    Some("VssInvalidApiResourceVersionException")
)]
#[case(
    "/shop/_apis/build/latest/178?api-version=7.1",
    Some("VssInvalidPreviewVersionException")
)]
#[case("/shop/_apis/build/latest/178?api-version=7.1-preview.1", None)]
#[tokio::test]
async fn checks_the_api_version(#[case] path: &str, #[case] refusal: Option<&str>) {
    let bench = Bench::start().await;
    let answer = bench.get(ANA, path).await;
    match refusal {
        None => drop(answer.ok()),
        Some(type_key) => drop(answer.error(400, type_key)),
    }
}

#[tokio::test]
async fn a_change_needs_an_api_version_which_may_stand_in_accept() {
    let bench = Bench::start().await;
    let path = "/shop/_apis/build/builds/639";
    let body = json!({"status": "cancelling"});
    bench
        .send(ANA, Method::PATCH, path, &body)
        .await
        .error(400, "VssVersionNotSpecifiedException");
    let request = bench.bare_request(&bench.simulator.core_url(), Method::PATCH, path);
    let request = request
        .header("accept", "application/json;api-version=7.1")
        .bearer_auth(bench.token(ANA));
    send(request.json(&body)).await.ok();
}

#[tokio::test]
async fn connection_data_names_the_caller() {
    let bench = Bench::start().await;
    let data = bench.get(BEN, "/_apis/connectionData").await.ok().json();
    assert_eq!(data["authenticatedUser"]["providerDisplayName"], BEN.display_name);
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_a_leak_test_needs() {
    let bench = Bench::start().await;
    let answer = bench.get(ANA, "/shop/_apis/build/builds/638").await.ok();
    assert!(answer.header("x-vss-userdata").ends_with(":ana@contoso.example"));
    let call = bench.last_call().await;
    assert_eq!(answer.header("activityid"), call.activity_id);
    assert_eq!(answer.header("x-vss-e2eid"), call.activity_id);
    let failed = bench.get(ANA, "/shop/_apis/build/builds/1").await.expect(404);
    assert!(!failed.header("x-vss-userdata").is_empty() && !failed.header("activityid").is_empty());
}
