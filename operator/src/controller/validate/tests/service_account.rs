//! Tests the validation of a `ServiceAccount` that the object names.

use rstest::rstest;

use super::*;

#[test]
fn refuses_a_given_service_account_that_is_not_there() {
    let server = quickstart_with(json!({"entra": {"federation": {"serviceAccountName": "shared"}}}));
    let refusals = refusals(&server, &ClusterState::default());
    assert!(matches!(refusals[..], [Refusal::ServiceAccountNotFound { .. }]));
    assert!(
        !refusals[0].needs_edit(),
        "creating the ServiceAccount helps as well"
    );
}

fn borrowing(namespace: &str, account: Value) -> Vec<Refusal> {
    let mut server = quickstart_with(json!({"entra": {"federation": {"serviceAccountName": "shared"}}}));
    server.metadata.namespace = Some(namespace.to_owned());
    let found = ClusterState {
        service_account: Some(serde_json::from_value(account).unwrap()),
        ..ClusterState::default()
    };
    refusals(&server, &found)
}

#[rstest]
#[case::without_the_annotation(json!({}), "behalf.dev/mcp-servers=azure-devops;")]
#[case::shared_with_others(
    json!({"behalf.dev/mcp-servers": "other, azure-devops-2"}),
    "behalf.dev/mcp-servers=other,azure-devops-2,azure-devops --overwrite;"
)]
#[case::text_that_is_no_name(
    json!({"behalf.dev/mcp-servers": "$(touch x);"}),
    "behalf.dev/mcp-servers=azure-devops --overwrite;"
)]
fn borrows_no_service_account_whose_owner_did_not_agree(#[case] annotations: Value, #[case] command: &str) {
    let refusals = borrowing(
        "mcp",
        json!({"metadata": {"name": "shared", "annotations": annotations}}),
    );
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].reason(), Reason::ServiceAccountNotShared);
    assert!(!refusals[0].needs_edit(), "the annotation helps as well");
    let message = refusals[0].to_string();
    let command = format!("kubectl annotate serviceaccount shared -n mcp {command}");
    assert!(message.contains(&command), "{message}");
}

#[test]
fn borrows_a_service_account_whose_owner_agreed() {
    let annotations = json!({"behalf.dev/mcp-servers": "other, azure-devops"});
    assert_eq!(
        borrowing(
            "mcp",
            json!({"metadata": {"name": "shared", "annotations": annotations}})
        ),
        []
    );
}

#[test]
fn borrows_no_service_account_of_another_object_or_of_the_operators_namespace() {
    let annotations = json!({"behalf.dev/mcp-servers": "azure-devops"});
    let owner = json!({"apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer", "name": "other", "uid": "o", "controller": true});
    let controlled = borrowing(
        "mcp",
        json!({"metadata": {"name": "shared", "annotations": annotations, "ownerReferences": [owner]}}),
    );
    let beside = borrowing(
        "behalf-system",
        json!({"metadata": {"name": "shared", "annotations": annotations}}),
    );
    for refusals in [controlled, beside] {
        assert_eq!(refusals.len(), 1);
        assert_eq!(refusals[0].reason(), Reason::ServiceAccountNotShared);
        assert!(refusals[0].needs_edit());
    }
}

#[test]
fn a_borrowed_service_account_is_planned_as_given() {
    let server = quickstart_with(json!({"entra": {"federation": {"serviceAccountName": "shared"}}}));
    assert_eq!(
        judge(&server, &shared(&server)).unwrap().service_account,
        ServiceAccountPlan::Given("shared".to_owned())
    );
}

#[test]
fn naming_the_service_account_that_was_made_for_it_is_naming_none() {
    let server = quickstart_with(json!({"entra": {"federation": {"serviceAccountName": "azure-devops"}}}));
    let own = json!({"metadata": {"name": "azure-devops", "ownerReferences": [{
        "apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer", "name": "azure-devops",
        "uid": server.uid().unwrap(), "controller": true,
    }]}});
    let found = ClusterState {
        service_account: Some(serde_json::from_value(own).unwrap()),
        ..ClusterState::default()
    };
    assert_eq!(
        judge(&server, &found).unwrap().service_account,
        ServiceAccountPlan::Own
    );
}
