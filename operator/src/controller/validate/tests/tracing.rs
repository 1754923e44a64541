//! Tests the validation of the collector of traces.

use rstest::rstest;

use super::*;

fn collector(endpoint: &str) -> Value {
    json!({"tracing": {"endpoint": endpoint}})
}

#[rstest]
#[case("http://otel.obs.svc:4318")]
#[case("https://otel.example:443")]
#[case("http://10.1.2.3:4318")]
#[case("http://[fd00::1]:4318")]
fn accepts_a_collector(#[case] endpoint: &str) {
    let plan = judge(&quickstart_with(collector(endpoint)), &ClusterState::default()).unwrap();
    let tracing = plan.tracing.unwrap();
    assert_eq!(tracing.endpoint, endpoint.parse().unwrap());
    assert_eq!(tracing.object, plan.object);
}

#[test]
fn the_example_names_a_service_of_the_cluster() {
    let example = include_str!("../../../../../examples/traces.yaml");
    let plan = judge(&server(example), &ClusterState::default()).unwrap();
    assert_eq!(plan.tracing.unwrap().origin(), "http://otel.obs.svc:4318");
}

#[test]
fn an_object_without_a_collector_has_none() {
    let plan = judge(&server(QUICKSTART), &ClusterState::default()).unwrap();
    assert_eq!(plan.tracing, None);
}
