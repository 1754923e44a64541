//! Tests how an immutable configuration is replaced.

use super::*;

#[tokio::test]
async fn a_configuration_with_another_content_is_deleted_and_created_again() {
    let config_map = || children(&server(QUICKSTART)).config_map;
    let mut other = stored(config_map());
    other["data"] = json!({"sidecar.yaml": "publicUrl: https://mcp.attacker.example"});
    let found = (200, other.clone());
    let other: ConfigMap = serde_json::from_value(other).unwrap();

    let (client, handle) = client();
    let answers = vec![(200, json!({})), (201, stored(config_map()))];
    let asked = tokio::spawn(script(handle, answers));
    writer(&client)
        .put_immutable(config_map(), Some(&other))
        .await
        .unwrap();
    drop(client);
    let asked = asked.await.unwrap();
    assert!(asked[0].0.starts_with("DELETE "), "{}", asked[0].0);
    assert_eq!(asked[0].1["preconditions"]["uid"], json!(other.metadata.uid));
    assert!(asked[1].0.starts_with("POST "), "{}", asked[1].0);

    // Without our labels it is not in the cache, and met only when it is written.
    let (client, handle) = self::client();
    let immutable = || {
        failure(
            422,
            "Invalid",
            "data: Forbidden: field is immutable when `immutable` is set",
        )
    };
    let answers = vec![
        exists(),
        found.clone(),
        immutable(),
        // It cannot be repaired.
        immutable(),
        (200, json!(other)),
        (200, json!({})),
        (201, stored(config_map())),
    ];
    let asked = tokio::spawn(script(handle, answers));
    writer(&client).put_immutable(config_map(), None).await.unwrap();
    drop(client);
    assert!(asked.await.unwrap()[5].0.starts_with("DELETE "));

    // A finalizer keeps it: nothing that the user of the object could edit.
    let (client, handle) = self::client();
    let answers = vec![(200, json!({})), exists(), found, immutable(), immutable()];
    let asked = tokio::spawn(script(handle, answers));
    let error = writer(&client)
        .put_immutable(config_map(), Some(&other))
        .await
        .unwrap_err();
    drop(client);
    assert!(matches!(error, ApplyError::Remains { .. }), "{error}");
    assert!(error.refusal().is_none());
    asked.await.unwrap();

    // The operator leaves data that others add, for example a webhook, unchanged.
    let mut more = stored(config_map());
    more["data"]["of-a-webhook"] = json!("x");
    let more: ConfigMap = serde_json::from_value(more).unwrap();
    let (client, handle) = self::client();
    writer(&client)
        .put_immutable(config_map(), Some(&more))
        .await
        .unwrap();
    drop((client, handle));

    // The operator does not delete a configuration of another object.
    let mut foreign = stored(config_map());
    foreign["data"] = json!({});
    foreign["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    let foreign: ConfigMap = serde_json::from_value(foreign).unwrap();
    let (client, mut handle) = self::client();
    let error = writer(&client)
        .put_immutable(config_map(), Some(&foreign))
        .await
        .unwrap_err();
    assert!(matches!(error, ApplyError::Foreign { .. }), "{error}");
    drop(client);
    assert!(pin!(&mut handle).next_request().await.is_none());
}
