//! Tests the validation of requests and limits.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[rstest]
#[case::quantity("server.resources", json!({"server": {"resources": {"limits": {"memory": "much"}}}}))]
#[case::request_above_the_limit("sidecar.resources", json!({"sidecar": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}}))]
fn refuses_resources(#[case] field: &str, #[case] patch: Value) {
    assert_refused(field, patch);
}

#[test]
fn a_user_who_sets_only_limits_keeps_the_default_requests() {
    let server = quickstart_with(json!({"server": {"resources": {"limits": {"memory": "1Gi"}}}}));
    let plan = judge(&server, &Found::default()).unwrap();
    let resources = serde_json::to_value(&plan.server.resources).unwrap();
    assert_eq!(
        resources,
        json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}})
    );
}
