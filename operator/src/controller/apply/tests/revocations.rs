//! Tests how the Secret with the revocations is written.

use k8s_openapi::api::core::v1::Secret;

use super::*;
use crate::testing::revocations;

fn secret() -> Secret {
    revocations(&server(QUICKSTART))
}

/// The Secret as the API server returns it, after a change.
fn live(change: impl FnOnce(&mut Value)) -> (u16, Value) {
    let mut live = stored(secret());
    change(&mut live);
    (200, live)
}

async fn put(answers: Vec<(u16, Value)>) -> (Result<(), ApplyError>, Vec<(String, Value)>) {
    let (client, handle) = client();
    let asked = tokio::spawn(script(handle, answers));
    let result = put_revocations(&client, secret(), false).await;
    drop(client);
    (
        result.map_err(|not_written| not_written.error),
        asked.await.unwrap(),
    )
}

#[tokio::test]
async fn missing_revocations_are_created() {
    let (result, asked) = put(vec![
        failure(404, "NotFound", "not found"),
        (201, stored(secret())),
    ])
    .await;
    result.unwrap();
    assert!(asked[1].0.starts_with("POST "), "{}", asked[1].0);
    assert_eq!(asked[1].1["type"], "behalf.dev/revocations");
}

#[tokio::test]
async fn present_revocations_are_only_read() {
    let (result, asked) = put(vec![live(|_| {})]).await;
    result.unwrap();
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[rstest::rstest]
#[case::other_revocations(|live: &mut Value| live["data"]["revocations.json"] = json!("e30="))]
#[case::another_owner(|live: &mut Value| live["metadata"]["ownerReferences"][0]["uid"] = json!("another"))]
#[case::no_owner(|live: &mut Value| live["metadata"]["ownerReferences"] = json!([]))]
#[case::no_labels(|live: &mut Value| live["metadata"]["labels"] = json!({}))]
#[tokio::test]
async fn changed_revocations_are_replaced_in_the_version_that_was_read(#[case] change: fn(&mut Value)) {
    let (result, asked) = put(vec![live(change), (200, stored(secret()))]).await;
    result.unwrap();
    let (line, body) = &asked[1];
    assert!(line.starts_with("PUT "), "{line}");
    assert_eq!(body["metadata"]["resourceVersion"], "7");
    assert_eq!(body["data"], json!(secret())["data"]);
    assert_eq!(
        body["metadata"]["ownerReferences"],
        json!(secret())["metadata"]["ownerReferences"]
    );
}

#[tokio::test]
async fn a_secret_of_another_type_is_left_alone() {
    let (result, asked) = put(vec![live(|live| live["type"] = json!("Opaque"))]).await;
    let error = result.unwrap_err();
    assert!(matches!(error, ApplyError::Foreign { .. }), "{error}");
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[tokio::test]
async fn the_revocations_of_a_new_object_are_created_without_a_read() {
    let (client, handle) = client();
    let asked = tokio::spawn(script(handle, vec![(201, stored(secret()))]));
    put_revocations(&client, secret(), true).await.unwrap();
    drop(client);
    assert!(asked.await.unwrap()[0].0.starts_with("POST "));
}

#[rstest::rstest]
#[case::found(exists())]
#[case::refused_by_a_quota_before(failure(403, "Forbidden", "secrets is forbidden: exceeded quota: few"))]
#[tokio::test]
async fn revocations_that_are_older_than_their_object_are_replaced(#[case] create: (u16, Value)) {
    let (client, handle) = client();
    let other = live(|live| live["data"]["revocations.json"] = json!("e30="));
    let asked = tokio::spawn(script(handle, vec![create, other, (200, stored(secret()))]));
    put_revocations(&client, secret(), true).await.unwrap();
    drop(client);
    let asked = asked.await.unwrap();
    assert!(asked[2].0.starts_with("PUT "), "{}", asked[2].0);
}
