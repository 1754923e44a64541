//! Tests the validation of sessions.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[rstest]
#[case::duration("sessions.idleLifetime", json!({"sessions": {"idleLifetime": "soon"}}))]
#[case::short_access("sessions.accessTokenLifetime", json!({"sessions": {"accessTokenLifetime": "59s"}}))]
#[case::idle("sessions.idleLifetime", json!({"sessions": {"idleLifetime": "30m"}}))]
#[case::maximum("sessions.maximumLifetime", json!({"sessions": {"maximumLifetime": "9000h"}}))]
#[case::grace_period("sessions.refreshGrace", json!({"sessions": {"refreshGrace": "11m"}}))]
fn refuses_a_lifetime(#[case] field: &str, #[case] patch: Value) {
    assert_refused(field, patch);
}
