//! Tests the steps of a key rotation in whole passes.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::cluster::{Cluster, event_reasons, failure, statuses};
use super::passes::{NAME, held, pod};
use super::*;
use crate::api::v1alpha1::KeysStatus;
use crate::controller::dereference::pod_reports::PodReports;
use crate::testing::{children, document};

/// Returns the object with a request for a rotation, as its status knows the keys.
fn requesting(keys: KeysStatus) -> McpServer {
    let mut server = server(QUICKSTART);
    let request = (names::ROTATE_KEYS_ANNOTATION.to_owned(), "now".to_owned());
    server.metadata.annotations = Some([request].into());
    server.status.get_or_insert_default().keys = Some(keys);
    server
}

fn first_keys() -> KeysStatus {
    KeysStatus {
        current: "s00000001".to_owned(),
        secret_name: Some("azure-devops-keyring".to_owned()),
        created_at: Some(time(0)),
        ..KeysStatus::default()
    }
}

/// The keyring Secret as the API server stores it.
fn stored(server: &McpServer) -> Value {
    let mut secret = json!(children(server).keyring.unwrap());
    secret["metadata"]["resourceVersion"] = json!("7");
    secret
}

/// Makes a pass over an object whose Pod has loaded these keys.
fn cluster(server: &McpServer, secret: Value, opening: &[&str]) -> Cluster {
    let mut document = document("sha256:0");
    document.keyring.opening = opening.iter().map(|id| (*id).to_owned()).collect();
    let held = held(server);
    let template = held.deployment.spec.as_ref().map(|spec| &spec.template);
    let pod = Pod {
        spec: template.and_then(|template| template.spec.clone()),
        ..pod()
    };
    Cluster {
        children: held.existing(),
        pods: vec![pod],
        reports: Arc::new(PodReports::holding("a-pod", document)),
        stored: vec![("/secrets/azure-devops-keyring", secret)],
        ..Cluster::of(std::slice::from_ref(server))
    }
}

/// Returns the keyrings that were written.
fn written(asked: &[(String, Value)]) -> Vec<&Value> {
    let writes = asked
        .iter()
        .filter(|(line, _)| line.starts_with("PUT ") && line.contains("/secrets/"));
    writes.map(|(_, body)| body).collect()
}

#[tokio::test]
async fn a_requested_rotation_adds_a_key_that_seals_after_every_pod_reports_it() {
    let server = requesting(first_keys());
    let (results, asked) = cluster(&server, stored(&server), &["s00000001"])
        .passes(std::slice::from_ref(&server))
        .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(event_reasons(&asked), ["KeyRotationStarted"]);
    let added = written(&asked)[0].clone();
    assert_eq!(
        added["metadata"]["resourceVersion"], "7",
        "another writer's keyring is not overwritten"
    );
    let keys = &statuses(&asked, NAME)[0]["keys"];
    assert_eq!(
        (&keys["current"], &keys["lastRequest"]),
        (&json!("s00000001"), &json!("now"))
    );
    let next = keys["next"].as_str().unwrap().to_owned();

    let server = requesting(serde_json::from_value(keys.clone()).unwrap());
    let (_, asked) = cluster(&server, added.clone(), &["s00000001"])
        .passes(std::slice::from_ref(&server))
        .await;
    assert!(
        asked.iter().all(|(line, _)| !line.contains("/secrets/")),
        "the Pod has not read the new key"
    );

    let (results, asked) = cluster(&server, added, &["s00000001", &next])
        .passes(std::slice::from_ref(&server))
        .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(event_reasons(&asked), ["KeyRotated"]);
    let keys = &statuses(&asked, NAME)[0]["keys"];
    assert_eq!((&keys["current"], &keys["next"]), (&json!(next), &Value::Null));
    assert_eq!(keys["retiring"][0]["id"], "s00000001");
}

#[tokio::test]
async fn a_keyring_that_another_writer_changed_is_read_again() {
    let server = requesting(first_keys());
    let cluster = Cluster {
        refused: Some((
            "PUT /api/v1/namespaces/mcp/secrets/",
            failure(409, "Conflict", "changed"),
        )),
        ..cluster(&server, stored(&server), &["s00000001"])
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(
        matches!(results[..], [Err(ReconcileError::Apply(_))]),
        "{results:?}"
    );
    assert_eq!(event_reasons(&asked), Vec::<&str>::new());
    assert_eq!(statuses(&asked, NAME), Vec::<&Value>::new());
}

#[tokio::test]
async fn a_keyring_that_cannot_be_changed_holds_up_nothing_but_the_rotation() {
    let server = requesting(first_keys());
    let cluster = Cluster {
        refused: Some((
            "PUT /api/v1/namespaces/mcp/secrets/",
            failure(422, "Invalid", "field is immutable when `immutable` is set"),
        )),
        ..cluster(&server, stored(&server), &["s00000001"])
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(event_reasons(&asked), ["KeyRotationFailed"]);
    let status = statuses(&asked, NAME)[0];
    assert_eq!(status["keys"]["current"], "s00000001");
    let conditions = status["conditions"].as_array().unwrap();
    let accepted = conditions
        .iter()
        .find(|condition| condition["type"] == "Accepted");
    assert_eq!(accepted.unwrap()["status"], "True", "{status}");
}

#[tokio::test]
async fn a_keyring_that_is_missing_during_a_rotation_is_not_made_while_a_pod_has_its_keys() {
    let server = requesting(first_keys());
    let cluster = Cluster {
        stored: Vec::new(),
        ..cluster(&server, Value::Null, &["s00000001"])
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(
        asked.iter().all(|(_, body)| body["kind"] != "Secret"),
        "{asked:?}"
    );
    assert_eq!(statuses(&asked, NAME)[0]["keys"]["current"], "s00000001");
}

#[tokio::test]
async fn a_keyring_without_an_owner_is_not_rotated() {
    let server = requesting(first_keys());
    let mut secret = stored(&server);
    secret["metadata"]["ownerReferences"] = Value::Null;
    let (results, asked) = cluster(&server, secret, &["s00000001"])
        .passes(std::slice::from_ref(&server))
        .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(written(&asked), Vec::<&Value>::new());
}

#[tokio::test]
async fn a_missing_keyring_is_not_made_while_pods_seal_with_the_key_that_the_status_calls_next() {
    let server = requesting(KeysStatus {
        next: Some("s00000002".to_owned()),
        ..first_keys()
    });
    let mut document = document("sha256:0");
    document.keyring.sealing = "s00000002".to_owned();
    document.keyring.opening = vec!["s00000001".to_owned(), "s00000002".to_owned()];
    let cluster = Cluster {
        stored: Vec::new(),
        reports: Arc::new(PodReports::holding("a-pod", document)),
        ..cluster(&server, Value::Null, &[])
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(
        asked.iter().all(|(_, body)| body["kind"] != "Secret"),
        "{asked:?}"
    );
}

fn given() -> McpServer {
    let mut server = requesting(first_keys());
    let keys = json!({"type": "Secret", "secret": {"secretRef": {"name": "vault-behalf-keys"}}});
    server.spec.keys = serde_json::from_value(keys).unwrap();
    server
}

#[tokio::test]
async fn a_keyring_of_another_tool_is_neither_read_nor_written_and_its_keys_are_those_of_the_pods() {
    let server = given();
    let (results, asked) = cluster(&server, Value::Null, &["s00000001", "s00000000"])
        .passes(std::slice::from_ref(&server))
        .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(
        asked.iter().all(|(line, _)| !line.contains("/secrets")),
        "{asked:?}"
    );
    let keys = &statuses(&asked, NAME)[0]["keys"];
    let expected = json!({
        "current": "s00000001", "secretName": "vault-behalf-keys", "retiring": [{"id": "s00000000"}],
    });
    assert_eq!(*keys, expected);
}

#[tokio::test]
async fn keys_of_another_tool_are_no_proof_of_a_managed_keyring() {
    let mut keys = first_keys();
    keys.secret_name = Some("vault-behalf-keys".to_owned());
    let server = requesting(keys);
    let cluster = Cluster {
        stored: Vec::new(),
        ..cluster(&server, Value::Null, &["s00000001"])
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let made = asked
        .iter()
        .filter(|(line, body)| line.starts_with("POST ") && body["kind"] == "Secret");
    assert_eq!(
        made.count(),
        1,
        "the Pods would wait for a Secret that nobody makes"
    );
    assert_eq!(event_reasons(&asked), Vec::<&str>::new(), "no keyring was lost");
}
