//! Tests the validation of the object itself.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[rstest]
#[case::replicas(json!({"replicas": 2}))]
#[case::no_replicas(json!({"replicas": 0}))]
fn refuses_replicas(#[case] patch: Value) {
    assert_refused("replicas", patch);
}

#[rstest]
#[case::too_long(&"a".repeat(49))]
#[case::a_digit_first("1a")]
#[case::a_dot("a.b")]
fn refuses_a_name_that_children_cannot_have(#[case] name: &str) {
    let mut server = server(QUICKSTART);
    server.metadata.name = Some(name.to_owned());
    assert!(matches!(
        refusals(&server, &Found::default())[..],
        [Refusal::Field {
            field: "metadata.name",
            ..
        }]
    ));
}
