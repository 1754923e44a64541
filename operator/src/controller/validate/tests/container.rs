//! Tests the validation of a server from an image of the object's author.

use behalf_contract::{ExchangePlace, Injection};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const IMAGE: &str = "registry.contoso.example/mcp/orders:1";

/// The quickstart with a container in place of the built-in server, with these fields of the container and of the spec.
fn with_container(container: Value, spec: Value) -> McpServer {
    let mut patch = json!({
        "server": {"azureDevOps": null, "container": {"image": IMAGE}},
        "tokenExchange": {"scope": "api://orders/.default"},
    });
    let (Value::Object(container), Value::Object(spec)) = (container, spec) else {
        panic!("not objects")
    };
    for (key, value) in container {
        patch["server"]["container"][key] = value;
    }
    for (key, value) in spec {
        patch[key] = value;
    }
    quickstart_with(patch)
}

fn fields(server: &McpServer) -> Vec<&'static str> {
    let fields = refusals(server, &ClusterState::default())
        .into_iter()
        .map(|refusal| match refusal {
            Refusal::Field { field, .. } => field,
            other => panic!("{other}"),
        });
    fields.collect()
}

#[rstest]
#[case::as_small_as_possible(json!({}))]
#[case::exactly_an_allowed_path(json!({"image": "registry.contoso.example/mcp:1"}))]
#[case::by_digest(json!({"image": format!("registry.contoso.example/mcp/a/b@sha256:{}", "0".repeat(64))}))]
#[case::by_tag_and_digest(json!({"image": format!("{IMAGE}@sha256:{}", "0".repeat(64))}))]
#[case::all(json!({
    "command": ["/bin/server"], "args": ["--port=8000"], "port": 8000, "path": "/api/v1/mcp/",
    "writablePaths": ["/tmp", "/home/app/.cache", "/var/running"], "writableSize": "4Gi", "runAsUser": 1000,
}))]
#[case::the_smallest_directory(json!({"writableSize": "1Mi"}))]
#[case::the_largest_directory_in_mebibytes(json!({"writableSize": "4096Mi"}))]
fn accepts_a_container(#[case] container: Value) {
    let result = judge(&with_container(container, json!({})), &ClusterState::default());
    assert_eq!(refusals_of(result), []);
}

#[rstest]
#[case::labels("pod.labels", json!({"pod": {"labels": {"app": "payments"}}}))]
#[case::annotations("pod.annotations", json!({"pod": {"annotations": {"k8s.v1.cni.cncf.io/networks": "backend"}}}))]
#[case::store_without_credentials("sessions.store.redis.auth.type", json!({"sessions": {"store": {
    "type": "Redis", "redis": {"endpoints": ["redis://redis.mcp.svc:6379"], "auth": {"type": "None"}},
}}}))]
fn refuses_settings_that_would_give_a_container_more_than_its_own(#[case] field: &str, #[case] spec: Value) {
    assert_eq!(fields(&with_container(json!({}), spec.clone())), [field]);
    let built_in = refusals(&quickstart_with(spec), &ClusterState::default());
    assert_eq!(built_in, [], "the built-in server does what the release does");
}

#[rstest]
#[case(json!({"scope": "api://orders/.default"}), Injection::Header, Some("api://orders/.default"))]
#[case(json!({"scope": "api://orders/.default", "injection": "Argument"}), Injection::Argument, Some("api://orders/.default"))]
#[case(json!({"scope": null, "injection": "None"}), Injection::None, None)]
fn the_sidecar_exchanges_for_the_scope_of_the_object_and_never_for_that_of_azure_devops(
    #[case] exchange: Value,
    #[case] injection: Injection,
    #[case] scope: Option<&str>,
) {
    let server = with_container(json!({}), json!({"tokenExchange": exchange}));
    let plan = judge(&server, &ClusterState::default()).unwrap();
    assert_eq!(plan.token_exchange.at, ExchangePlace::Sidecar);
    assert_eq!(plan.token_exchange.injection, injection);
    assert_eq!(plan.token_exchange.scope.as_deref(), scope);
}

#[test]
fn an_installation_without_repositories_allows_no_container_and_says_how_to_allow_one() {
    let mut defaults = defaults();
    defaults.allowed.server_repositories.clear();
    let refusals = validate(
        &with_container(json!({}), json!({})),
        &ClusterState::default(),
        &defaults,
    )
    .unwrap_err();
    let message = refusals.to_string();
    assert_eq!(refusals.reason(), Reason::InvalidSpec);
    assert!(
        message.starts_with("server.container.image cannot be used"),
        "{message}"
    );
    assert!(
        message.contains("allowed.serverRepositories of the chart behalf"),
        "{message}"
    );
}
