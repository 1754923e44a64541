//! Tests when a child is created, applied or left alone.

use super::*;

#[tokio::test]
async fn the_first_write_of_a_child_creates_it() {
    let (result, asked) = put(service(), None, vec![(201, stored(service()))]).await;
    result.unwrap();
    let (line, body) = &asked[0];
    assert!(
        line.starts_with("POST /api/v1/namespaces/mcp/services?")
            && line.contains("fieldManager=behalf-operator"),
        "{line}"
    );
    assert_eq!(body["kind"], "Service");
    assert!(body["metadata"]["annotations"][names::APPLIED_ANNOTATION].is_string());
}

#[tokio::test]
async fn the_fields_of_a_created_child_become_applied_fields_before_its_first_edit_is_applied() {
    let mut created = stored(service());
    created["metadata"]["managedFields"] = json!([{
        "manager": crate::field_manager::FIELD_MANAGER, "operation": "Update", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:type": {}}},
    }]);
    let mut cached: Service = serde_json::from_value(created.clone()).unwrap();
    cached.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].port = 81;
    crate::controller::managed_fields::trim(cached.managed_fields_mut());
    let answers = vec![(200, created), (200, stored(service())), (200, stored(service()))];
    let (result, asked) = put(service(), Some(&cached), answers).await;
    result.unwrap();
    let (line, body) = &asked[1];
    assert!(line.starts_with("PATCH ") && !line.contains("force"), "{line}");
    assert_eq!(body["metadata"]["managedFields"][0]["operation"], "Apply");
    assert!(body["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"].is_object());
    assert_eq!(body.get("spec"), None, "a change of the spec would be a rollout");
    let (line, _) = &asked[2];
    assert!(line.contains("force=true"), "{line}");
}

/// The policy of a cluster-wide installation refuses every other write of an object without the operator's labels.
#[tokio::test]
async fn a_created_child_without_its_labels_is_applied_first() {
    let mut created = stored(service());
    created["metadata"]["managedFields"] = json!([{
        "manager": crate::field_manager::FIELD_MANAGER, "operation": "Update", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:type": {}}},
    }]);
    let mut stripped: Service = serde_json::from_value(created.clone()).unwrap();
    stripped.labels_mut().clear();
    let answers = vec![(200, created), (200, stored(service())), (200, stored(service()))];
    let (result, asked) = put(service(), Some(&stripped), answers).await;
    result.unwrap();
    let forced: Vec<_> = asked
        .iter()
        .map(|(line, _)| line.contains("force=true"))
        .collect();
    assert_eq!(forced, [true, false, true]);
    assert_eq!(asked[1].1["metadata"]["managedFields"][0]["operation"], "Apply");
}

#[tokio::test]
async fn asks_nothing_for_a_child_that_is_so_already() {
    let mut live = stored(service());
    live["spec"]["clusterIP"] = json!("10.0.0.1");
    live["status"] = json!({"loadBalancer": {}});
    let live: Service = serde_json::from_value(live).unwrap();
    put(service(), Some(&live), Vec::new()).await.0.unwrap();
}

#[tokio::test]
async fn repairs_fields_that_another_writer_changed() {
    let (result, asked) = put(service(), Some(&edited()), vec![(200, stored(service()))]).await;
    result.unwrap();
    let (request, body) = &asked[0];
    assert!(
        request.starts_with("PATCH ") && request.contains("force=true"),
        "{request}"
    );
    assert_eq!(body["metadata"]["uid"], "5d6f7f6e-0000-4000-8000-000000000009");
}

#[tokio::test]
async fn a_child_that_a_webhook_completes_is_applied_once_and_again_after_an_edit() {
    let completed = |port: u16| {
        let mut service = stored(service());
        let mut added = service["spec"]["ports"][0].clone();
        added["name"] = json!("of-a-webhook");
        added["port"] = json!(port);
        service["spec"]["ports"].as_array_mut().unwrap().push(added);
        service
    };
    let parse = |value: Value| serde_json::from_value::<Service>(value).unwrap();
    let (client, handle) = client();
    let answers = vec![(200, completed(15000)), (200, completed(15000))];
    let asked = tokio::spawn(script(handle, answers));
    let writer = writer(&client);
    // The webhook's port is there already, then stays, then somebody gives it another number.
    writer
        .put(service(), Some(&parse(completed(15000))))
        .await
        .unwrap();
    for version in ["8", "9"] {
        let mut live = completed(15000);
        live["metadata"]["resourceVersion"] = json!(version);
        writer.put(service(), Some(&parse(live))).await.unwrap();
    }
    writer
        .put(service(), Some(&parse(completed(15001))))
        .await
        .unwrap();
    drop(client);
    assert_eq!(asked.await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_new_spec_is_applied_over_a_child_that_a_webhook_completes() {
    let mut live = stored(service());
    live["spec"]["ports"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "more", "port": 15000}));
    let live: Service = serde_json::from_value(live).unwrap();
    let (client, handle) = client();
    let asked = tokio::spawn(script(handle, vec![(200, json!(live)), (200, json!(live))]));
    let writer = writer(&client);
    writer.put(service(), Some(&live)).await.unwrap();
    let mut other = service();
    other.labels_mut().insert("new".to_owned(), "label".to_owned());
    writer.put(other, Some(&live)).await.unwrap();
    drop(client);
    assert_eq!(asked.await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_child_that_lost_its_labels_is_found_and_applied() {
    let mut unlabelled = stored(service());
    unlabelled["metadata"]["labels"] = json!({});
    let answers = vec![exists(), (200, unlabelled), (200, stored(service()))];
    let (result, asked) = put(service(), None, answers).await;
    result.unwrap();
    assert_eq!(
        asked[2].1["metadata"]["uid"],
        "5d6f7f6e-0000-4000-8000-000000000009"
    );
}

#[tokio::test]
async fn a_child_that_is_not_in_the_cache_yet_is_not_written_again() {
    let answers = vec![exists(), (200, stored(service()))];
    put(service(), None, answers).await.0.unwrap();
}

#[tokio::test]
async fn a_keyring_is_created_and_never_patched() {
    let (client, handle) = client();
    let keyring = children(&server(QUICKSTART)).keyring.unwrap();
    let asked = tokio::spawn(script(handle, vec![exists()]));
    let error = create_keyring(&client, keyring).await.unwrap_err();
    drop(client);
    assert!(
        matches!(
            error,
            ApplyError::Request {
                verb: "create",
                kind: "Secret",
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.to_string().contains("AQEB"), "no key in an error");
    assert!(
        asked.await.unwrap()[0]
            .0
            .starts_with("POST /api/v1/namespaces/mcp/secrets")
    );
}
