//! Tests the validation of addresses.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[rstest]
#[case::path("publicUrl", json!({"publicUrl": "https://mcp.contoso.example/mcp"}))]
#[case::slash("publicUrl", json!({"publicUrl": "https://mcp.contoso.example/"}))]
#[case::capitals("publicUrl", json!({"publicUrl": "https://MCP.contoso.example"}))]
#[case::default_port("publicUrl", json!({"publicUrl": "https://mcp.contoso.example:443"}))]
#[case::plain_http("publicUrl", json!({"publicUrl": "http://mcp.contoso.example"}))]
#[case::user("publicUrl", json!({"publicUrl": "https://ana@mcp.contoso.example"}))]
#[case::no_url("publicUrl", json!({"publicUrl": "mcp.contoso.example"}))]
#[case::proxy_without_prefix("trustedProxies", json!({"trustedProxies": ["10.0.0.1"]}))]
#[case::proxy_with_host_bits("trustedProxies", json!({"trustedProxies": ["10.0.0.1/8"]}))]
#[case::every_proxy("trustedProxies", json!({"trustedProxies": ["10.0.0.0/8", "0.0.0.0/0"]}))]
#[case::proxy_of_ipv4_in_the_form_of_ipv6("trustedProxies", json!({"trustedProxies": ["::ffff:10.0.0.0/104"]}))]
#[case::every_ipv6_proxy("trustedProxies", json!({"trustedProxies": ["::/0"]}))]
fn refuses_an_address(#[case] field: &str, #[case] patch: Value) {
    assert_refused(field, patch);
}

#[rstest]
#[case("http://localhost:8080")]
#[case("http://127.0.0.1:9000")]
#[case("http://[::1]:9000")]
#[case("https://mcp.contoso.example:8443")]
fn accepts_as_public_url(#[case] public_url: &str) {
    assert!(
        judge(
            &quickstart_with(json!({"publicUrl": public_url})),
            &Found::default()
        )
        .is_ok()
    );
}

#[test]
fn an_older_object_takes_the_public_url_and_is_named() {
    let mine = server(QUICKSTART);
    let beside = |seconds| {
        let other_claims = vec![other_claim(seconds)];
        refusals(
            &mine,
            &Found {
                other_claims,
                ..Found::default()
            },
        )
    };
    let taken = Refusal::PublicUrlTaken {
        namespace: "other".to_owned(),
        name: "older".to_owned(),
    };
    assert!(taken.needs_edit());
    assert_eq!(beside(-1), [taken]);
    assert_eq!(beside(1), [], "a younger object takes nothing");
}

#[test]
fn the_example_behind_a_gateway_trusts_the_gateway_alone() {
    let example = include_str!("../../../../../examples/behind-a-gateway.yaml");
    let plan = judge(&server(example), &Found::default()).unwrap();
    assert_eq!(plan.trusted_proxies, ["10.244.0.0/16".parse().unwrap()]);
}
