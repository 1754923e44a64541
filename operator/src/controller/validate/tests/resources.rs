//! Tests the validation of requests and limits.

use super::*;

#[test]
fn a_user_who_sets_only_limits_keeps_the_default_requests() {
    let server = quickstart_with(json!({"server": {"resources": {"limits": {"memory": "1Gi"}}}}));
    let plan = judge(&server, &ClusterState::default()).unwrap();
    let resources = serde_json::to_value(&plan.server.resources).unwrap();
    assert_eq!(
        resources,
        json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}})
    );
}
