//! Tests the validation of addresses.

use rstest::rstest;
use serde_json::json;

use super::*;

#[rstest]
#[case("http://localhost:8080")]
#[case("http://127.0.0.1:9000")]
#[case("http://[::1]:9000")]
#[case("https://mcp.contoso.example:8443")]
fn accepts_as_public_url(#[case] public_url: &str) {
    assert!(
        judge(
            &quickstart_with(json!({"publicUrl": public_url})),
            &ClusterState::default()
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
            &ClusterState {
                other_claims,
                ..ClusterState::default()
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
    let plan = judge(&server(example), &ClusterState::default()).unwrap();
    assert_eq!(plan.trusted_proxies, ["10.244.0.0/16".parse().unwrap()]);
}
