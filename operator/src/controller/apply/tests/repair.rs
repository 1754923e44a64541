//! Tests how an invalid child is repaired, and which field manager owns its fields.

use super::*;

/// An entry of `metadata.managedFields` of this operator.
fn managed(operation: &str, fields: &Value) -> Value {
    json!({"manager": crate::field_manager::FIELD_MANAGER, "operation": operation, "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": fields})
}

#[tokio::test]
async fn a_repair_replaces_lists_and_leaves_no_second_field_manager() {
    let duplicate = failure(422, "Invalid", "spec.ports[1].name: Duplicate value");
    let mut applied = stored(service());
    applied["metadata"]["managedFields"] = json!([
        managed("Apply", &json!({"f:metadata": {}})),
        managed("Update", &json!({"f:spec": {}})),
    ]);
    let answers = vec![
        duplicate,
        (200, stored(service())),
        (200, applied),
        (200, stored(service())),
        (200, stored(service())),
    ];
    let (result, asked) = put(service(), Some(&edited()), answers).await;
    result.unwrap();
    let [first, repair, again, own, last] = &asked[..] else {
        panic!("{asked:?}")
    };
    assert_eq!(repair.1["spec"]["ports"], first.1["spec"]["ports"]);
    assert_eq!(repair.1["metadata"]["uid"], first.1["metadata"]["uid"]);
    assert!(!repair.0.contains("force"), "a merge patch: {}", repair.0);
    let both = managed("Apply", &json!({"f:metadata": {}, "f:spec": {}}));
    assert_eq!(own.1["metadata"]["managedFields"], json!([both]));
    assert_eq!(own.1["metadata"]["resourceVersion"], "7");
    for apply in [first, again, last] {
        assert!(apply.0.contains("force=true"), "{}", apply.0);
    }
}

#[tokio::test]
async fn a_created_child_has_one_entry_of_managed_fields_after_its_first_change() {
    let mut applied = stored(service());
    applied["metadata"]["managedFields"] = json!([managed("Update", &json!({"f:spec": {}}))]);
    // The Deployment controller was faster.
    let conflict = failure(409, "Conflict", "the object has been modified");
    let mut later = applied.clone();
    later["metadata"]["resourceVersion"] = json!("8");
    let answers = vec![
        (200, applied),
        conflict,
        (200, later),
        (200, stored(service())),
        (200, stored(service())),
    ];
    let (result, asked) = put(service(), Some(&edited()), answers).await;
    result.unwrap();
    let verbs: Vec<&str> = asked
        .iter()
        .map(|(line, _)| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(verbs, ["PATCH", "PATCH", "GET", "PATCH", "PATCH"]);
    assert_eq!(asked[3].1["metadata"]["managedFields"][0]["operation"], "Apply");
    assert_eq!(asked[3].1["metadata"]["resourceVersion"], "8");
    assert!(asked[4].0.contains("force=true"), "{}", asked[4].0);
}

#[tokio::test]
async fn a_child_that_stays_invalid_is_reported_with_the_first_error() {
    let answers = vec![
        failure(422, "Invalid", "first"),
        failure(422, "Invalid", "second"),
    ];
    let error = put(service(), Some(&edited()), answers).await.0.unwrap_err();
    assert!(
        matches!(&error, ApplyError::Rejected { message, .. } if message == "first"),
        "{error}"
    );
}

#[rstest::rstest]
#[case(500, "InternalError", "etcd is slow")]
#[case(409, "Conflict", "the object has been modified")]
#[case(504, "Timeout", "timed out")]
#[tokio::test]
async fn a_repair_that_fails_is_a_failed_request_and_no_refusal(
    #[case] code: u16,
    #[case] reason: &str,
    #[case] message: &str,
) {
    let answers = vec![failure(422, "Invalid", "first"), failure(code, reason, message)];
    let error = put(service(), Some(&edited()), answers).await.0.unwrap_err();
    assert!(error.refusal().is_none(), "{error}");
    assert!(
        matches!(error, ApplyError::Request { verb: "repair", .. }),
        "{error}"
    );
}
