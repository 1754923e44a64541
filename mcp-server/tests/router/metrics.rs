//! The metrics of the server after calls.

use axum::body::{Body, to_bytes};
use behalf_mcp_server::probes::{self, Readiness};
use behalf_simulators::azure_devops::{Action, Fault};
use http::{Request, StatusCode};
use tower::ServiceExt as _;

use crate::user::User;

/// The page `/metrics` of the probes' port.
async fn page(user: &User) -> String {
    let router = probes::router(Readiness::default(), user.pod.app.metrics());
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let answer = router.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(
        answer.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

fn count(operation: &str, outcome: &str, times: u32) -> String {
    let labels = format!("operation=\"{operation}\",outcome=\"{outcome}\"");
    format!("behalf_azure_devops_request_seconds_count{{{labels}}} {times}")
}

#[tokio::test]
async fn each_request_to_azure_devops_counts_by_operation_and_outcome() {
    let user = User::sign_in("ana").await;
    user.list().await.structured();
    user.fault(Fault::once(Action::Throttle {
        retry_after_seconds: Some(1),
    }))
    .await;
    user.list().await.structured();
    user.trigger().await.structured();
    user.failures_of(999_999).await.tool_error();

    let page = page(&user).await;
    for line in [
        count("builds", "success", 2),
        count("builds", "throttled", 1),
        count("definition", "success", 1),
        count("run", "success", 1),
        count("build", "refused", 1),
    ] {
        assert!(page.lines().any(|known| known == line), "{line} in\n{page}");
    }
}

#[tokio::test]
async fn no_argument_and_no_name_is_in_the_metrics() {
    let user = User::sign_in("ana").await;
    user.list().await.structured();
    let page = page(&user).await;
    assert!(page.contains("operation=\"builds\""), "{page}");
    for text in ["shop", "ana", "contoso"] {
        assert!(!page.contains(text), "{text} in\n{page}");
    }
}
