//! Tests the events about keyrings.

use rstest::rstest;

use super::cluster::{Cluster, event_reasons, failure};
use super::*;
use crate::api::v1alpha1::KeysStatus;
use crate::testing::children;

/// Returns the object as its status names this sealing key.
fn with_key(key: Option<&str>) -> McpServer {
    let mut server = server(QUICKSTART);
    server.status.get_or_insert_default().keys = key.map(|key| KeysStatus {
        current: key.to_owned(),
        secret_name: Some("azure-devops-keyring".to_owned()),
        ..KeysStatus::default()
    });
    server
}

#[tokio::test]
async fn a_replaced_keyring_is_reported_also_when_a_later_child_fails() {
    let server = with_key(Some("s00000009"));
    let cluster = Cluster {
        refused: Some(("/services/", failure(500, "InternalError", "etcd is slow"))),
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(
        matches!(results[..], [Err(ReconcileError::Apply(_))]),
        "{results:?}"
    );
    assert_eq!(event_reasons(&asked), ["KeyringReplaced"]);
}

#[tokio::test]
async fn a_new_keyring_fulfils_a_request_for_a_rotation_that_was_made_before() {
    let mut server = with_key(Some("s00000009"));
    let request = (names::ROTATE_KEYS_ANNOTATION.to_owned(), "last year".to_owned());
    server.metadata.annotations = Some([request].into());
    let (results, asked) = Cluster::of(std::slice::from_ref(&server)).passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let made: Vec<_> = asked
        .iter()
        .filter(|(_, body)| body["type"] == "behalf.dev/keyring")
        .collect();
    assert_eq!(made.len(), 1, "{asked:?}");
    let annotations = &made[0].1["metadata"]["annotations"];
    assert_eq!(annotations[names::ROTATE_KEYS_ANNOTATION], "last year");
}

#[tokio::test]
async fn the_first_keyring_of_an_object_replaces_none() {
    let server = with_key(None);
    let (results, asked) = Cluster::of(std::slice::from_ref(&server)).passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(event_reasons(&asked), Vec::<&str>::new());
}

#[rstest]
#[case::of_a_new_object(None, false, &["KeyringAdopted"])]
#[case::of_an_object_that_used_another_key(Some("s00000009"), false, &["KeyringAdopted"])]
#[case::in_use_before(Some("s00000001"), false, &[])]
#[case::that_the_object_owns(None, true, &[])]
#[tokio::test]
async fn the_use_of_a_restored_keyring_is_reported_when_it_begins(
    #[case] key_in_status: Option<&str>,
    #[case] is_owned: bool,
    #[case] expected: &[&str],
) {
    let server = with_key(key_in_status);
    let mut keyring = children(&server).keyring.unwrap();
    if !is_owned {
        keyring.metadata.owner_references = None;
    }
    let cluster = Cluster {
        stored: vec![("/secrets/azure-devops-keyring", json!(keyring))],
        ..Cluster::of(std::slice::from_ref(&server))
    };
    let (results, asked) = cluster.passes(&[server]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(event_reasons(&asked), expected);
}
