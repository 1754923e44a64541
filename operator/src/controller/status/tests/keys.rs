//! Tests what the status says about a keyring of another tool.

use super::*;

fn given(name: &str, key: &str) -> McpServer {
    quickstart_with(json!({
        "keys": {"type": "Secret", "secret": {"secretRef": {"name": name, "key": key}}},
    }))
}

/// An object with the keyring `old-behalf-keys`, whose Pod has loaded its key `k1`.
fn with_old_keyring() -> World {
    with_pod(World::of(given("old-behalf-keys", "keyring.json")), "k1")
}

fn with_pod(mut world: World, key: &str) -> World {
    let keyring = &mut world.document().keyring;
    keyring.sealing = key.to_owned();
    keyring.opening = vec![key.to_owned()];
    world
}

/// The current key, and the Secret that it is in.
fn shown(status: &McpServerStatus) -> Option<(&str, &str)> {
    let keys = status.keys.as_ref()?;
    Some((keys.current.as_str(), keys.secret_name.as_deref()?))
}

#[rstest]
#[case::another_secret("new-behalf-keys", "keyring.json")]
#[case::another_key_of_the_secret("old-behalf-keys", "new.json")]
fn keys_of_a_keyring_that_the_spec_no_longer_names_are_not_shown(#[case] name: &str, #[case] key: &str) {
    let mut world = with_old_keyring();
    assert_eq!(shown(&world.reconcile()), Some(("k1", "old-behalf-keys")));
    world.server = McpServer {
        status: world.server.status.clone(),
        ..given(name, key)
    };
    world.server.metadata.generation = Some(2);
    assert_eq!(
        shown(&world.reconcile()),
        None,
        "only Pods of the earlier one run"
    );

    // A Pod of the new template starts, reports, and the earlier one stops.
    let mut new = with_pod(World::of(given(name, key)), "k2");
    world.pods.push(new.pods.remove(0));
    assert_eq!(shown(&world.reconcile()), None, "no Pod has reported the new one");
    world.reports.push(new.reports.remove(0));
    assert_eq!(shown(&world.reconcile()), Some(("k2", name)));
    world.pods.remove(0);
    world.reports.remove(0);
    assert_eq!(shown(&world.reconcile()), Some(("k2", name)));
}

#[test]
fn a_keyring_that_does_not_exist_has_no_keys_and_available_names_it() {
    let mut world = with_old_keyring();
    world.reconcile();
    let new = World::of(given("new-behalf-keys", "keyring.json"));
    world.server = McpServer {
        status: world.server.status.clone(),
        ..new.server
    };
    world.deployment = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1});
    (world.pods, world.reports) = (new.pods, Vec::new());
    world.pods[0]["status"] = json!({
        "phase": "Pending", "startTime": time(90).to_string(),
        "conditions": [{"type": "PodReadyToStartContainers", "status": "False"}],
    });
    world.now = 121;
    let status = world.reconcile();
    assert_eq!(shown(&status), None);
    let kind = ConditionType::Available;
    assert_eq!(
        status_and_reason(&status, kind),
        pair("False", "VolumesUnavailable")
    );
    let message = &condition(&status, kind).message;
    assert!(message.contains("Secret new-behalf-keys"), "{message}");
}

#[test]
fn the_keys_stay_while_a_pod_restarts_and_the_next_one_is_shown_when_pods_of_every_template_open_it() {
    let mut world = with_old_keyring();
    let mut earlier = world.reports[0].clone();
    earlier.template = Some("sha256:0".to_owned());
    world.reports.push(earlier);
    world.pods.push(world.pods[0].clone());
    let loaded = |report: &mut PodReport| {
        let keyring = &mut report.document.as_mut().unwrap().keyring;
        keyring.next = Some("k2".to_owned());
        keyring.opening = vec!["k1".to_owned(), "k2".to_owned()];
    };
    world.reconcile();
    loaded(&mut world.reports[0]);
    let next = |status: &McpServerStatus| status.keys.as_ref().unwrap().next.clone();
    assert_eq!(
        next(&world.reconcile()),
        None,
        "a Pod of the earlier template has not read it"
    );
    loaded(&mut world.reports[1]);
    let status = world.reconcile();
    assert_eq!(next(&status).as_deref(), Some("k2"));
    world.reports.clear();
    assert_eq!(world.reconcile().keys, status.keys);
}
