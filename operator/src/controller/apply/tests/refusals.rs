//! Tests what becomes a refusal: objects of other owners, and answers of the API server.

use super::*;

#[tokio::test]
async fn an_object_that_took_the_name_of_a_child_is_not_written_and_is_judged_again() {
    let (code, mut answer) = failure(422, "Invalid", "metadata.uid: Invalid value: field is immutable");
    answer["details"] = json!({"causes": [
        {"reason": "FieldValueInvalid", "message": "field is immutable", "field": "metadata.uid"},
    ]});
    let (result, asked) = put(service(), Some(&edited()), vec![(code, answer)]).await;
    let error = result.unwrap_err();
    assert!(
        error.refusal().is_none(),
        "there is nothing for the user to fix: {error}"
    );
    assert_eq!(asked.len(), 1, "and nothing is repaired");
}

#[tokio::test]
async fn adopts_no_namesake() {
    let mut foreign = stored(service());
    foreign["metadata"]["ownerReferences"] = json!([]);
    let (result, asked) = put(service(), None, vec![exists(), (200, foreign)]).await;
    let error = result.unwrap_err();
    assert!(
        matches!(error.refusal(), Some(Refusal::NameTaken { kind: "Service", .. })),
        "{error}"
    );
    assert!(
        asked.iter().all(|(line, _)| !line.starts_with("PATCH")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn touches_no_child_of_another_object_even_with_our_labels() {
    let mut live = stored(service());
    live["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    let live: Service = serde_json::from_value(live).unwrap();
    let error = put(service(), Some(&live), Vec::new()).await.0.unwrap_err();
    assert!(matches!(error, ApplyError::Foreign { .. }), "{error}");
}

#[rstest::rstest]
#[case::invalid(422, "Invalid", "spec.template.metadata.labels: Invalid value", Some(true))]
#[case::quota(
    403,
    "Forbidden",
    "services \"azure-devops\" is forbidden: exceeded quota: compute, requested: count/services=1, used: count/services=5, limited: count/services=5",
    Some(false)
)]
#[case::webhook(
    403,
    "Forbidden",
    "admission webhook \"policy.example\" denied the request: no",
    Some(false)
)]
#[case::webhook_with_another_code(
    400,
    "BadRequest",
    "admission webhook \"policy.example\" denied the request: no",
    Some(false)
)]
#[case::policy(
    403,
    "Forbidden",
    "services \"azure-devops\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
    Some(false)
)]
#[case::policy_without_a_reason(
    422,
    "Invalid",
    "services \"azure-devops\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
    Some(false)
)]
#[case::a_missing_right(
    403,
    "Forbidden",
    "services is forbidden: User \"system:serviceaccount:behalf-system:behalf\" cannot create resource \"services\" in API group \"\" in the namespace \"mcp\"",
    None
)]
#[case::a_webhook_that_does_not_answer(
    500,
    "InternalError",
    "failed calling webhook \"policy.example\"",
    None
)]
#[case::a_conflict(409, "Conflict", "conflict", None)]
#[tokio::test]
async fn a_child_that_the_cluster_refuses_is_a_refusal_and_a_failed_request_is_not(
    #[case] code: u16,
    #[case] reason: &str,
    #[case] message: &str,
    #[case] refusal_needs_edit: Option<bool>,
) {
    let error = put(service(), None, vec![failure(code, reason, message)])
        .await
        .0
        .unwrap_err();
    let refusal = error.refusal();
    assert_eq!(
        refusal.as_ref().map(Refusal::needs_edit),
        refusal_needs_edit,
        "{error}"
    );
    if let Some(refusal) = refusal {
        assert_eq!(refusal.reason().as_str(), "ChildRejected");
        assert!(refusal.to_string().contains(message), "{refusal}");
    }
}

#[tokio::test]
async fn a_namespace_that_is_being_deleted_is_no_judgement_of_the_child() {
    let (code, mut answer) = failure(403, "Forbidden", "unable to create new content in namespace mcp");
    answer["details"] =
        json!({"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]});
    let error = put(service(), None, vec![(code, answer)]).await.0.unwrap_err();
    assert!(error.refusal().is_none(), "{error}");
}
