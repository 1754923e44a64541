//! Tests how children are applied, repaired and deleted.

use std::pin::pin;
use std::sync::Arc;

use http::{Request, Response};
use k8s_openapi::api::core::v1::Service;
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock;

use super::*;
use crate::testing::{QUICKSTART, children, quickstart_with, server};

type Handle = mock::Handle<Request<Body>, Response<Body>>;

fn client() -> (Client, Handle) {
    let (service, handle) = mock::pair();
    (Client::new(service, "default"), handle)
}

/// Answers requests in this order and returns what was asked.
async fn script(mut handle: Handle, answers: Vec<(u16, Value)>) -> Vec<(String, Value)> {
    let mut asked = Vec::new();
    for (status, answer) in answers {
        let (request, send) = pin!(&mut handle).next_request().await.expect("one more request");
        let line = format!("{} {}", request.method(), request.uri());
        let body = request.into_body().collect_bytes().await.unwrap();
        asked.push((line, serde_json::from_slice(&body).unwrap_or(Value::Null)));
        let response = Response::builder()
            .status(status)
            .body(Body::from(serde_json::to_vec(&answer).unwrap()));
        send.send_response(response.unwrap());
    }
    let more = pin!(&mut handle).next_request().await;
    assert!(
        more.is_none(),
        "one request too many: {:?}",
        more.map(|(request, _)| request.uri().clone())
    );
    asked
}

fn failure(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}),
    )
}

fn exists() -> (u16, Value) {
    failure(409, "AlreadyExists", "already exists")
}

/// Returns a writer on `client` without remembered forms.
fn writer(client: &Client) -> Writer<'_> {
    Writer {
        client,
        stored_forms: Box::leak(Box::new(StoredForms::default())),
    }
}

/// Returns the Service after another writer changed it.
fn edited() -> Service {
    let mut live = stored(service());
    live["spec"]["ports"][0]["port"] = json!(81);
    serde_json::from_value(live).unwrap()
}

/// Writes `child` over `live` while the API server gives these answers. Returns the result and the requests.
async fn put<K: Child + Send + Sync + 'static>(
    child: K,
    live: Option<&K>,
    answers: Vec<(u16, Value)>,
) -> (Result<K, ApplyError>, Vec<(String, Value)>) {
    let (client, handle) = client();
    let asked = tokio::spawn(script(handle, answers));
    let result = writer(&client).put(child, live).await;
    drop(client);
    (result, asked.await.unwrap())
}

fn service() -> Service {
    children(&server(QUICKSTART)).service
}

/// As the API server would return it: stamped, with defaults.
fn stored<K: Child>(mut child: K) -> Value {
    unchanged::stamp(&mut child).unwrap();
    let mut value = serde_json::to_value(child).unwrap();
    value["metadata"]["uid"] = json!("5d6f7f6e-0000-4000-8000-000000000009");
    value["metadata"]["resourceVersion"] = json!("7");
    value
}

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
async fn asks_nothing_for_a_child_that_is_so_already() {
    let mut live = stored(service());
    live["spec"]["clusterIP"] = json!("10.0.0.1");
    live["status"] = json!({"loadBalancer": {}});
    let live: Service = serde_json::from_value(live).unwrap();
    put(service(), Some(&live), Vec::new()).await.0.unwrap();
}

#[tokio::test]
async fn puts_right_what_others_changed() {
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
        .put_content(config_map(), Some(&other))
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
    writer(&client).put_content(config_map(), None).await.unwrap();
    drop(client);
    assert!(asked.await.unwrap()[5].0.starts_with("DELETE "));

    // A finalizer keeps it: nothing that the user of the object could edit.
    let (client, handle) = self::client();
    let answers = vec![(200, json!({})), exists(), found, immutable(), immutable()];
    let asked = tokio::spawn(script(handle, answers));
    let error = writer(&client)
        .put_content(config_map(), Some(&other))
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
        .put_content(config_map(), Some(&more))
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
        .put_content(config_map(), Some(&foreign))
        .await
        .unwrap_err();
    assert!(matches!(error, ApplyError::Foreign { .. }), "{error}");
    drop(client);
    assert!(pin!(&mut handle).next_request().await.is_none());
}

/// An entry of `metadata.managedFields` of this operator.
fn managed(operation: &str, fields: &Value) -> Value {
    json!({"manager": names::FIELD_MANAGER, "operation": operation, "apiVersion": "v1",
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
async fn what_was_created_is_owned_as_applied_from_its_first_change_on() {
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
async fn a_child_that_stays_invalid_tells_the_first_reason() {
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

#[tokio::test]
async fn a_keyring_is_created_and_never_patched() {
    let (client, handle) = client();
    let keyring = children(&server(QUICKSTART)).keyring.unwrap();
    let asked = tokio::spawn(script(handle, vec![exists()]));
    let error = writer(&client).create(keyring).await.unwrap_err();
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

#[tokio::test]
async fn deletes_only_what_it_owns_and_exactly_what_it_saw() {
    let policy = || {
        let value = stored(children(&server(QUICKSTART)).network_policy.unwrap());
        serde_json::from_value::<k8s_openapi::api::networking::v1::NetworkPolicy>(value).unwrap()
    };
    let (client, handle) = client();
    let asked = tokio::spawn(script(handle, vec![failure(409, "Conflict", "uid differs")]));
    let owner = server(QUICKSTART).metadata.uid;
    writer(&client).delete(&policy(), owner.as_deref()).await.unwrap();
    drop(client);
    let (line, body) = asked.await.unwrap().remove(0);
    assert!(
        line.starts_with("DELETE /apis/networking.k8s.io/v1/namespaces/mcp/networkpolicies/azure-devops")
    );
    assert_eq!(
        body["preconditions"]["uid"],
        "5d6f7f6e-0000-4000-8000-000000000009"
    );

    let (client, mut handle) = self::client();
    writer(&client).delete(&policy(), Some("another")).await.unwrap();
    drop(client);
    assert!(
        pin!(&mut handle).next_request().await.is_none(),
        "deleted what is not ours"
    );
}

#[test]
fn a_configuration_stays_while_a_pod_was_made_with_it_or_a_replica_set_may_make_one() {
    let now = children(&server(QUICKSTART));
    let before = children(&quickstart_with(
        json!({"server": {"azureDevOps": {"readOnly": true}}}),
    ))
    .config_map;
    let mut live = Live {
        config_maps: vec![Arc::new(before.clone()), Arc::new(now.config_map.clone())],
        ..Live::default()
    };
    let Children {
        service_account,
        keyring,
        config_map,
        network_policy,
        service,
        deployment,
        state: _,
    } = now;
    let applied = Children::<Applied> {
        service_account,
        keyring,
        config_map,
        network_policy,
        service,
        deployment,
        state: PhantomData,
    };
    let metadata = json!({"annotations": {(names::CONFIGURATION_ANNOTATION): before.name_any()}});
    let pod = json!({"metadata": metadata});
    live.pods = vec![Arc::new(serde_json::from_value(pod).unwrap())];
    assert_eq!(unused_configurations(&applied, &live).count(), 0);
    live.pods.clear();
    // In the middle of a rollout it may have no Pod at the moment.
    let replica_set =
        json!({"metadata": {}, "spec": {"replicas": 1, "selector": {}, "template": {"metadata": metadata}}});
    live.replica_sets = vec![Arc::new(serde_json::from_value(replica_set).unwrap())];
    assert_eq!(unused_configurations(&applied, &live).count(), 0);
    live.replica_sets.clear();
    let unused: Vec<String> = unused_configurations(&applied, &live)
        .map(kube::ResourceExt::name_any)
        .collect();
    assert_eq!(unused, [before.name_any()]);
}
