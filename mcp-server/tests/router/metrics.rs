//! The metrics of the server after calls.

use axum::body::{Body, to_bytes};
use behalf_contract::{ExchangePlace, Injection};
use behalf_mcp_server::probes::{self, Readiness};
use behalf_simulators::azure_devops::{Action, Fault};
use behalf_simulators::entra::Policy;
use http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{Ask, Pod, World};
use crate::traces::{CONTEXT, TRACE, tracing};
use crate::user::User;

/// The page `/metrics` of the probes' port.
async fn page(pod: &Pod) -> String {
    let router = probes::router(Readiness::default(), pod.app.metrics());
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

    let page = page(&user.pod).await;
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
    let page = page(&user.pod).await;
    assert!(page.contains("operation=\"builds\""), "{page}");
    for text in ["shop", "ana", "contoso"] {
        assert!(!page.contains(text), "{text} in\n{page}");
    }
}

#[tokio::test]
async fn each_exchange_of_a_token_counts_by_outcome() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Server, Injection::Header);
    let token = world.user_token("ana").await;
    let list = || pod.call(&token, "list_pipeline_runs", json!({"top": 1}));
    list().await.structured();
    list().await.structured();
    let count = |outcome: &str, times: u32| {
        format!("behalf_entra_request_seconds_count{{grant=\"on_behalf_of\",outcome=\"{outcome}\"}} {times}")
    };
    let first = page(&pod).await;
    assert!(
        first.contains(&count("success", 1)),
        "the second call has the token: {first}"
    );

    let blocked = [Policy::blocked()];
    world.entra().put_policies("ben", &blocked).await.unwrap();
    let ben = world.user_token("ben").await;
    let refused = pod.call(&ben, "list_pipeline_runs", json!({"top": 1})).await;
    refused.tool_error();
    let second = page(&pod).await;
    assert!(second.contains(&count("failure", 1)), "{second}");
}

#[tokio::test]
async fn a_bucket_names_the_trace_of_a_recorded_call() {
    let world = World::start().await;
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        config.tracing = Some(tracing("http://127.0.0.1:9".parse().unwrap()));
    });
    let token = world.azure_token("ana").await;
    let call = Ask::tool("list_pipeline_runs", json!({"top": 1}))
        .bearer(&token)
        .header("traceparent", CONTEXT);
    pod.send(call).await.structured();
    let page = page(&pod).await;
    assert!(page.contains(&format!("# {{trace_id=\"{TRACE}\"}}")), "{page}");
}
