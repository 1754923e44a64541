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

#[rstest]
#[case::everyone("sessions.revocations.before", json!({"before": "yesterday"}))]
#[case::no_zone("sessions.revocations.before", json!({"before": "2026-11-26T09:00:00"}))]
#[case::a_user(
    "sessions.revocations.users",
    json!({"users": [{"id": "ana@contoso.example", "before": "2026-11-26T09:00:00Z"}]})
)]
#[case::a_time_of_a_user(
    "sessions.revocations.users",
    json!({"users": [{"id": "aaaaaaaa-0000-4000-8000-000000000001", "before": "2026-13-26T09:00:00Z"}]})
)]
fn refuses_a_revocation(#[case] field: &str, #[case] revocations: Value) {
    assert_refused(field, json!({"sessions": {"revocations": revocations}}));
}

#[rstest]
#[case::shorter_than_a_week("167h")]
#[case::longer_than_a_year("8785h")]
#[case::days("30d")]
fn refuses_an_interval_of_key_rotations(#[case] interval: &str) {
    assert_refused(
        "keys.managed.rotationInterval",
        json!({"keys": {"managed": {"rotationInterval": interval}}}),
    );
}

fn given(name: &str) -> Value {
    json!({"type": "Secret", "secret": {"secretRef": {"name": name}}})
}

#[rstest]
#[case::no_secret("keys.secret", json!({"type": "Secret"}))]
#[case::a_secret_that_nothing_uses("keys.secret", json!({"secret": {"secretRef": {"name": "a-behalf-keys"}}}))]
#[case::settings_that_nothing_uses(
    "keys.managed",
    json!({"type": "Secret", "managed": {}, "secret": {"secretRef": {"name": "a-behalf-keys"}}})
)]
#[case::a_secret_that_nobody_wrote_for_behalf("keys.secret.secretRef.name", given("database"))]
#[case::the_credentials_of_a_store("keys.secret.secretRef.name", given("redis-behalf-store"))]
#[case::the_keyring_of_another_object("keys.secret.secretRef.name", given("other-keyring"))]
#[case::a_path("keys.secret.secretRef.name", given("../behalf-keys"))]
fn refuses_keys(#[case] field: &str, #[case] keys: Value) {
    assert_refused(field, json!({"keys": keys}));
}
