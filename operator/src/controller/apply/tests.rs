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
    asked
}

fn failure(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}),
    )
}

fn absent() -> (u16, Value) {
    failure(404, "NotFound", "not found")
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
async fn creates_what_does_not_exist_by_server_side_apply() {
    let (client, handle) = client();
    let asked = tokio::spawn(script(handle, vec![absent(), (201, stored(service()))]));
    put(&client, service(), None).await.unwrap();
    let asked = asked.await.unwrap();
    assert_eq!(asked[0].0, "GET /api/v1/namespaces/mcp/services/azure-devops");
    let (line, body) = &asked[1];
    assert!(
        line.starts_with("PATCH /api/v1/namespaces/mcp/services/azure-devops?"),
        "{line}"
    );
    assert!(
        line.contains("fieldManager=behalf-operator") && !line.contains("force=true"),
        "what somebody made meanwhile is not taken over: {line}"
    );
    assert_eq!(body["kind"], "Service");
    assert!(body["metadata"]["annotations"][names::APPLIED_ANNOTATION].is_string());
}

#[tokio::test]
async fn asks_nothing_for_a_child_that_is_so_already() {
    let (client, handle) = client();
    let mut live = stored(service());
    live["spec"]["clusterIP"] = json!("10.0.0.1");
    live["status"] = json!({"loadBalancer": {}});
    let live: Service = serde_json::from_value(live).unwrap();
    put(&client, service(), Some(&live)).await.unwrap();
    drop(client);
    let mut handle = handle;
    assert!(
        pin!(&mut handle).next_request().await.is_none(),
        "a request was made"
    );
}

#[tokio::test]
async fn puts_right_what_others_changed() {
    let (client, handle) = client();
    let mut live = stored(service());
    live["spec"]["ports"][0]["port"] = json!(80);
    let live: Service = serde_json::from_value(live).unwrap();
    let asked = tokio::spawn(script(handle, vec![(200, stored(service()))]));
    put(&client, service(), Some(&live)).await.unwrap();
    let (request, body) = asked.await.unwrap().remove(0);
    assert!(
        request.starts_with("PATCH ") && request.contains("force=true"),
        "{request}"
    );
    assert_eq!(body["metadata"]["uid"], "5d6f7f6e-0000-4000-8000-000000000009");
}

#[tokio::test]
async fn what_took_the_name_of_a_child_meanwhile_is_not_written_and_is_judged_again() {
    let (client, handle) = client();
    let mut live = stored(service());
    live["spec"]["ports"][0]["port"] = json!(80);
    let live: Service = serde_json::from_value(live).unwrap();
    let (code, mut answer) = failure(422, "Invalid", "metadata.uid: Invalid value: field is immutable");
    answer["details"] = json!({"causes": [
        {"reason": "FieldValueInvalid", "message": "field is immutable", "field": "metadata.uid"},
    ]});
    let asked = tokio::spawn(script(handle, vec![(code, answer)]));
    let error = put(&client, service(), Some(&live)).await.unwrap_err();
    assert!(error.refusal().is_none(), "the user has nothing to mend: {error}");
    assert_eq!(asked.await.unwrap().len(), 1, "and nothing is repaired");
}

#[tokio::test]
async fn a_configuration_with_another_content_is_made_anew() {
    let config_map = || children(&server(QUICKSTART)).config_map;
    let mut other = stored(config_map());
    other["data"] = json!({"sidecar.yaml": "publicUrl: https://mcp.attacker.example"});
    let other: ConfigMap = serde_json::from_value(other).unwrap();

    let (client, handle) = client();
    let answers = vec![(200, json!({})), absent(), (201, stored(config_map()))];
    let asked = tokio::spawn(script(handle, answers));
    put_content(&client, config_map(), Some(&other)).await.unwrap();
    let asked = asked.await.unwrap();
    assert!(asked[0].0.starts_with("DELETE "), "{}", asked[0].0);
    assert_eq!(asked[0].1["preconditions"]["uid"], json!(other.metadata.uid));
    assert!(asked[2].0.starts_with("PATCH "), "{}", asked[2].0);

    // Without our labels it is not in the cache, and met only when it is written.
    let (client, handle) = self::client();
    let immutable = failure(
        422,
        "Invalid",
        "data: Forbidden: field is immutable when `immutable` is set",
    );
    let answers = vec![
        (
            200,
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": other.metadata}),
        ),
        immutable.clone(),
        (200, json!(other)),
        (200, json!({})),
        absent(),
        (201, stored(config_map())),
    ];
    let asked = tokio::spawn(script(handle, answers));
    put_content(&client, config_map(), None).await.unwrap();
    assert!(asked.await.unwrap()[3].0.starts_with("DELETE "));

    // A finalizer keeps it: nothing that the user of the object could edit.
    let (client, handle) = self::client();
    let metadata =
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": other.metadata});
    let answers = vec![(200, json!({})), (200, metadata), immutable];
    let asked = tokio::spawn(script(handle, answers));
    let error = put_content(&client, config_map(), Some(&other))
        .await
        .unwrap_err();
    assert!(matches!(error, ApplyError::Remains { .. }), "{error}");
    assert!(error.refusal().is_none());
    asked.await.unwrap();

    // What others add beside ours, as a webhook may, is left alone.
    let mut more = stored(config_map());
    more["data"]["of-a-webhook"] = json!("x");
    let more: ConfigMap = serde_json::from_value(more).unwrap();
    let (client, handle) = self::client();
    put_content(&client, config_map(), Some(&more)).await.unwrap();
    drop((client, handle));

    // Somebody else's is not deleted.
    let mut foreign = stored(config_map());
    foreign["data"] = json!({});
    foreign["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    let foreign: ConfigMap = serde_json::from_value(foreign).unwrap();
    let (client, mut handle) = self::client();
    let error = put_content(&client, config_map(), Some(&foreign))
        .await
        .unwrap_err();
    assert!(matches!(error, ApplyError::Foreign { .. }), "{error}");
    drop(client);
    assert!(pin!(&mut handle).next_request().await.is_none());
}

#[tokio::test]
async fn replaces_lists_when_what_others_left_in_them_makes_the_child_invalid() {
    let (client, handle) = client();
    let mut live = stored(service());
    live["spec"]["ports"][0]["port"] = json!(81);
    let live: Service = serde_json::from_value(live).unwrap();
    let duplicate = failure(422, "Invalid", "spec.ports[1].name: Duplicate value");
    let answers = vec![duplicate, (200, stored(service())), (200, stored(service()))];
    let asked = tokio::spawn(script(handle, answers));
    put(&client, service(), Some(&live)).await.unwrap();
    let asked = asked.await.unwrap();
    assert_eq!(asked[1].1["spec"]["ports"], asked[0].1["spec"]["ports"]);
    assert_eq!(asked[1].1["metadata"]["uid"], asked[0].1["metadata"]["uid"]);
    assert!(!asked[1].0.contains("force"), "a merge patch: {}", asked[1].0);
}

#[tokio::test]
async fn a_child_that_stays_invalid_tells_the_first_reason() {
    let (client, handle) = client();
    let mut live = stored(service());
    live["spec"]["ports"][0]["port"] = json!(81);
    let live: Service = serde_json::from_value(live).unwrap();
    let answers = vec![
        failure(422, "Invalid", "first"),
        failure(422, "Invalid", "second"),
    ];
    let asked = tokio::spawn(script(handle, answers));
    let error = put(&client, service(), Some(&live)).await.unwrap_err();
    assert!(
        matches!(&error, ApplyError::Rejected { message, .. } if message == "first"),
        "{error}"
    );
    asked.await.unwrap();
}

#[tokio::test]
async fn adopts_no_namesake() {
    let (client, handle) = client();
    let foreign =
        json!({"apiVersion": "v1", "kind": "PartialObjectMetadata", "metadata": {"name": "azure-devops"}});
    let asked = tokio::spawn(script(handle, vec![(200, foreign)]));
    let error = put(&client, service(), None).await.unwrap_err();
    assert!(
        matches!(error.refusal(), Some(Refusal::NameTaken { kind: "Service", .. })),
        "{error}"
    );
    assert_eq!(asked.await.unwrap().len(), 1);
}

#[tokio::test]
async fn touches_no_child_of_another_object_even_with_our_labels() {
    let (client, _handle) = client();
    let mut live = stored(service());
    live["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    let live: Service = serde_json::from_value(live).unwrap();
    let error = put(&client, service(), Some(&live)).await.unwrap_err();
    assert!(matches!(error, ApplyError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn an_invalid_child_is_the_users_to_mend_and_a_forbidden_one_is_not() {
    for (answer, refusal) in [
        (
            failure(422, "Invalid", "spec.template.metadata.labels: Invalid value"),
            true,
        ),
        (failure(403, "Forbidden", "services is forbidden"), false),
        (failure(409, "Conflict", "conflict"), false),
    ] {
        let (client, handle) = client();
        let asked = tokio::spawn(script(handle, vec![absent(), answer]));
        let error = put(&client, service(), None).await.unwrap_err();
        assert_eq!(error.refusal().is_some(), refusal, "{error}");
        asked.await.unwrap();
    }
}

#[tokio::test]
async fn a_keyring_is_created_and_never_patched() {
    let (client, handle) = client();
    let keyring = || children(&server(QUICKSTART)).keyring.unwrap();
    let asked = tokio::spawn(script(handle, vec![failure(409, "AlreadyExists", "exists")]));
    let error = create(&client, keyring()).await.unwrap_err();
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
    delete(&client, &policy(), server(QUICKSTART).metadata.uid.as_deref())
        .await
        .unwrap();
    let (line, body) = asked.await.unwrap().remove(0);
    assert!(
        line.starts_with("DELETE /apis/networking.k8s.io/v1/namespaces/mcp/networkpolicies/azure-devops")
    );
    assert_eq!(
        body["preconditions"]["uid"],
        "5d6f7f6e-0000-4000-8000-000000000009"
    );

    let (client, handle) = self::client();
    delete(&client, &policy(), Some("another")).await.unwrap();
    drop(client);
    let mut handle = handle;
    assert!(
        pin!(&mut handle).next_request().await.is_none(),
        "deleted what is not ours"
    );
}

#[test]
fn a_configuration_stays_while_a_pod_was_made_with_it() {
    let now = children(&server(QUICKSTART));
    let before = children(&quickstart_with(
        json!({"server": {"azureDevOps": {"readOnly": true}}}),
    ))
    .config_map;
    let mut live = Live {
        config_maps: vec![Arc::new(before.clone()), Arc::new(now.config_map.clone())],
        ..Live::default()
    };
    let pod = json!({"metadata": {"annotations": {(names::CONFIGURATION_ANNOTATION): before.name_any()}}});
    live.pods = vec![Arc::new(serde_json::from_value(pod).unwrap())];
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
    assert_eq!(unused_configurations(&applied, &live).count(), 0);
    live.pods.clear();
    let unused: Vec<String> = unused_configurations(&applied, &live)
        .map(kube::ResourceExt::name_any)
        .collect();
    assert_eq!(unused, [before.name_any()]);
}
