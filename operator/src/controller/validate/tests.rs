//! Tests the validation of specs, by subject as in `rules/`.

mod address;
mod clients;
mod container;
mod defaults;
mod documentation;
mod entra;
mod examples;
mod installation_policy;
mod keyring;
mod object;
mod refused;
mod resources;
mod server;
mod service_account;
mod store;
mod tracing;

use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::*;
use crate::controller::plan::KeyringPlan;
use crate::controller::public_url::Claim;
use crate::controller::validate::installation_policy::parse_namespaces;
use crate::testing::{QUICKSTART, defaults, judge, quickstart_with, server, shared, time};
use behalf_contract::Reason;

fn refusals(server: &McpServer, found: &ClusterState) -> Vec<Refusal> {
    refusals_of(judge(server, found))
}

fn refusals_of(result: Result<Plan, Refusals>) -> Vec<Refusal> {
    let refusals = result.err();
    refusals.iter().flat_map(Refusals::iter).cloned().collect()
}

/// The claim of another object to the same address, which is this many seconds younger than the quickstart's.
fn other_claim(seconds: i64) -> Claim {
    Claim {
        namespace: "other".to_owned(),
        name: "older".to_owned(),
        uid: "ffffffff-0000-4000-8000-000000000002".to_owned(),
        created_at: Some(time(seconds)),
    }
}

/// Asserts that the quickstart with this patch is refused for one field alone.
fn assert_refused(field: &str, patch: Value) {
    let refusals = refusals(&quickstart_with(patch), &ClusterState::default());
    let fields: Vec<&str> = refusals
        .iter()
        .map(|refusal| match refusal {
            Refusal::Field { field, .. } => *field,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(fields, [field]);
    assert!(
        refusals
            .iter()
            .all(|refusal| refusal.reason() == Reason::InvalidSpec && refusal.needs_edit())
    );
}

#[test]
fn names_every_fault_at_once() {
    let server = quickstart_with(json!({"publicUrl": "x", "replicas": 3}));
    let refusals = judge(&server, &ClusterState::default()).unwrap_err();
    assert_eq!(refusals.iter().count(), 2);
    assert!(refusals.to_string().contains("; "));
}
