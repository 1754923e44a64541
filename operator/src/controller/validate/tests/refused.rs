//! Tests that the operator refuses each spec of `refused.yaml`. A test on a real API server reads the same table.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::testing::merge;

/// By the field of the refusal and what is wrong: the merge patches of the spec.
type Cases = BTreeMap<String, BTreeMap<String, Vec<Value>>>;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Table {
    refused: Cases,
    only_the_operator_knows: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    refused: Cases,
}

/// Returns how the operator's answer differs from one refusal of this field that asks for an edit.
fn difference(field: &str, patches: &[Value]) -> Option<String> {
    let mut object = serde_json::to_value(server(QUICKSTART)).unwrap();
    for patch in patches {
        merge(&mut object["spec"], patch.clone());
    }
    let server = match serde_json::from_value(object) {
        Ok(server) => server,
        Err(error) => return Some(error.to_string()),
    };
    let refusals = refusals(&server, &ClusterState::default());
    let is_expected = matches!(&refusals[..], [refusal @ Refusal::Field { field: refused, .. }]
        if *refused == field && refusal.reason() == Reason::InvalidSpec && refusal.needs_edit());
    (!is_expected).then(|| format!("{refusals:?}"))
}

#[test]
fn each_spec_of_the_table_is_refused_for_its_field_alone() {
    let table: Table = serde_yaml::from_str(include_str!("refused.yaml")).unwrap();
    let groups = table.only_the_operator_knows.iter().map(|group| &group.refused);
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (field, cases) in std::iter::once(&table.refused).chain(groups).flatten() {
        for (what, patches) in cases {
            count += 1;
            wrong.extend(difference(field, patches).map(|answer| format!("{field}, {what}: {answer}")));
        }
    }
    assert!(count > 150, "the table has {count} specs");
    assert_eq!(wrong, Vec::<String>::new());
}
