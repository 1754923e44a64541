//! Tests the validation of the Pod settings.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[rstest]
#[case::label("pod.labels", json!({"pod": {"labels": {"azure.workload.identity/use": "true"}}}))]
#[case::own_label("pod.labels", json!({"pod": {"labels": {"behalf.dev/mcp-server": "x"}}}))]
#[case::annotation("pod.annotations", json!({"pod": {"annotations": {"azure.workload.identity/skip-containers": "x"}}}))]
#[case::apparmor("pod.annotations", json!({"pod": {"annotations": {"container.apparmor.security.beta.kubernetes.io/mcp-server": "unconfined"}}}))]
#[case::grace("pod.terminationGracePeriodSeconds", json!({"pod": {"terminationGracePeriodSeconds": 10}}))]
fn refuses_a_pod_setting(#[case] field: &str, #[case] patch: Value) {
    assert_refused(field, patch);
}
