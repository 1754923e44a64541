//! Tests the validation of the object itself.

use rstest::rstest;

use super::*;

#[rstest]
#[case::too_long(&"a".repeat(49))]
#[case::a_digit_first("1a")]
#[case::a_dot("a.b")]
fn refuses_a_name_that_children_cannot_have(#[case] name: &str) {
    let mut server = server(QUICKSTART);
    server.metadata.name = Some(name.to_owned());
    assert!(matches!(
        refusals(&server, &ClusterState::default())[..],
        [Refusal::Field {
            field: "metadata.name",
            ..
        }]
    ));
}
