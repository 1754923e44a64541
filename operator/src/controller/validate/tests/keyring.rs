//! Tests the validation of the keyring Secret.

use rstest::rstest;
use serde_json::json;

use super::*;

#[rstest]
#[case::of_this_object("azure-devops", "behalf.dev/keyring", true)]
#[case::of_another_object("other", "behalf.dev/keyring", false)]
#[case::no_keyring("azure-devops", "Opaque", false)]
fn uses_a_keyring_that_was_restored_from_a_backup_without_its_owner(
    #[case] label: &str,
    #[case] secret_type: &str,
    #[case] is_used: bool,
) {
    let server = server(QUICKSTART);
    let made = crate::testing::children(&server).keyring.unwrap();
    let file = String::from_utf8(made.data.unwrap()[names::KEYRING_KEY].0.clone()).unwrap();
    let mut found = keyring("former", &file);
    let secret = found.keyring.as_mut().unwrap();
    secret.metadata.owner_references = None;
    secret.metadata.labels = Some(names::labels(label));
    secret.type_ = Some(secret_type.to_owned());
    let expected = if is_used {
        Vec::new()
    } else {
        vec![Refusal::NameTaken {
            kind: "Secret",
            name: "azure-devops-keyring".to_owned(),
        }]
    };
    assert_eq!(refusals(&server, &found), expected);
}

fn keyring(owner: &str, file: &str) -> ClusterState {
    let secret = json!({
        "metadata": {"name": "azure-devops-keyring", "ownerReferences": [{
            "apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer", "name": "azure-devops",
            "uid": owner, "controller": true,
        }]},
    });
    let mut secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret).unwrap();
    secret.data = Some(
        [(
            names::KEYRING_KEY.to_owned(),
            k8s_openapi::ByteString(file.as_bytes().to_vec()),
        )]
        .into(),
    );
    ClusterState {
        keyring: Some(secret),
        ..ClusterState::default()
    }
}

#[test]
fn keeps_a_readable_keyring_and_refuses_to_replace_a_damaged_one() {
    let server = server(QUICKSTART);
    let uid = server.uid().unwrap();
    let made = crate::testing::children(&server).keyring.unwrap();
    let file = String::from_utf8(made.data.unwrap()[names::KEYRING_KEY].0.clone()).unwrap();
    let plan = judge(&server, &keyring(&uid, &file)).unwrap();
    assert_eq!(
        plan.keyring,
        KeyringPlan::Keep {
            sealing: "s00000001".to_owned()
        }
    );
    let damaged = refusals(&server, &keyring(&uid, "{}"));
    assert!(matches!(damaged[..], [Refusal::KeyringDamaged { .. }]));
    assert!(!damaged[0].needs_edit());
    let foreign = refusals(&server, &keyring("somebody", &file));
    assert!(matches!(foreign[..], [Refusal::NameTaken { kind: "Secret", .. }]));
    assert!(foreign[0].to_string().contains("docs/keys.md"), "{}", foreign[0]);
    let service = Refusal::NameTaken {
        kind: "Service",
        name: "azure-devops".to_owned(),
    };
    assert!(!service.to_string().contains("docs/keys.md"), "{service}");
}
