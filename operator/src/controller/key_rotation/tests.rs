//! Tests the decision which step of a rotation is due, and the keyring after each step.

use behalf_contract::{Keyring, KeyringReport};
use k8s_openapi::api::core::v1::Secret;
use rstest::rstest;

use super::*;
use crate::api::v1alpha1::MAX_REQUEST_LENGTH;
use crate::testing::{QUICKSTART, children, fresh, server, time};

const DAY: i64 = 24 * 60 * 60;

/// The longest session of these tests.
const MAX_SESSION: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The keys after the first rotation has begun, `next` being the new one.
fn keys(next: Option<&str>, retiring: &[(&str, i64)]) -> KeysStatus {
    KeysStatus {
        current: "s1".to_owned(),
        created_at: Some(time(0)),
        next: next.map(str::to_owned),
        retiring: retiring
            .iter()
            .map(|(id, seconds)| RetiringKey {
                id: (*id).to_owned(),
                retire_at: Some(time(*seconds)),
            })
            .collect(),
        last_request: Some("first".to_owned()),
        ..KeysStatus::default()
    }
}

fn report(sealing: &str, opening: &[&str]) -> KeyringReport {
    KeyringReport {
        sealing: sealing.to_owned(),
        opening: opening.iter().map(|id| (*id).to_owned()).collect(),
        ..KeyringReport::default()
    }
}

/// Returns the step of an object with so many Pods, of which some report.
fn due(keys: &KeysStatus, count: usize, reports: &[KeyringReport], seconds: i64) -> Option<RotationStep> {
    let input = RotationInput {
        request: Some("first".to_owned()),
        interval: SignedDuration::from_hours(720),
        pods: Pods {
            count,
            reports: reports.iter().collect(),
            suspended: false,
        },
        now: time(seconds),
    };
    due_step(keys, &input)
}

fn seal() -> RotationStep {
    RotationStep::Seal("s2".to_owned())
}

#[rstest]
#[case::young(30 * DAY - 1, None)]
#[case::as_old_as_the_interval(30 * DAY, Some(RotationStep::Add))]
#[case::a_clock_that_went_back(-DAY, None)]
fn a_rotation_begins_when_the_sealing_key_is_as_old_as_the_interval(
    #[case] now: i64,
    #[case] expected: Option<RotationStep>,
) {
    let both = [report("s1", &["s1"]), report("s1", &["s1"])];
    assert_eq!(due(&keys(None, &[]), 2, &both, now), expected);
    assert_eq!(
        due(&keys(None, &[]), 0, &[], now),
        expected,
        "adding a key needs no Pod"
    );
}

#[rstest]
#[case::all_report_it(2, &[report("s1", &["s1", "s2"]), report("s1", &["s1", "s2"])], Some(seal()))]
#[case::one_seals_with_it_already(2, &[report("s2", &["s1", "s2"]), report("s1", &["s1", "s2"])], Some(seal()))]
#[case::one_does_not_report(2, &[report("s1", &["s1", "s2"])], None)]
#[case::one_of_an_older_replica_set_has_older_keys(2, &[report("s1", &["s1", "s2"]), report("s1", &["s1"])], None)]
#[case::none_runs_at_the_moment(0, &[], None)]
fn a_new_key_seals_once_every_pod_reports_it(
    #[case] count: usize,
    #[case] reports: &[KeyringReport],
    #[case] expected: Option<RotationStep>,
) {
    for now in [0, -DAY, 365 * DAY] {
        assert_eq!(
            due(&keys(Some("s2"), &[]), count, reports, now),
            expected,
            "{now}"
        );
    }
}

#[test]
fn a_new_key_of_a_suspended_object_seals_when_no_pod_is_left() {
    let suspended = |count| RotationInput {
        request: None,
        interval: SignedDuration::from_hours(720),
        pods: Pods {
            count,
            reports: Vec::new(),
            suspended: true,
        },
        now: time(0),
    };
    assert_eq!(due_step(&keys(Some("s2"), &[]), &suspended(0)), Some(seal()));
    assert_eq!(
        due_step(&keys(Some("s2"), &[]), &suspended(1)),
        None,
        "a Pod still stops"
    );
}

#[test]
fn an_evicted_pod_holds_up_no_rotation_of_a_suspended_object() {
    let mut server = server(QUICKSTART);
    let evicted: Pod = serde_json::from_value(serde_json::json!({"status": {"phase": "Failed"}})).unwrap();
    let pods = [Arc::new(evicted)];
    let due = |server: &McpServer| {
        let input = RotationInput::of(server, &pods, &[], time(0)).unwrap();
        due_step(&keys(Some("s2"), &[]), &input)
    };
    assert_eq!(due(&server), None, "a Pod may start at any moment");
    server.spec.suspend = true;
    assert_eq!(due(&server), Some(seal()));
}

#[rstest]
#[case::the_text_of_the_last_rotation(Some("first"), None, None)]
#[case::another_text(Some("second"), None, Some(RotationStep::Add))]
#[case::no_text(None, None, None)]
#[case::while_a_rotation_is_pending(Some("second"), Some("s2"), None)]
fn a_rotation_begins_on_request(
    #[case] request: Option<&str>,
    #[case] next: Option<&str>,
    #[case] expected: Option<RotationStep>,
) {
    let reports = [report("s1", &["s1"])];
    let input = RotationInput {
        request: request.map(str::to_owned),
        interval: SignedDuration::from_hours(720),
        pods: Pods {
            count: 1,
            reports: reports.iter().collect(),
            suspended: false,
        },
        now: time(0),
    };
    assert_eq!(due_step(&keys(next, &[]), &input), expected);
}

#[rstest]
#[case::before_its_time(DAY - 1, "s1", None)]
#[case::at_its_time(DAY, "s1", Some(RotationStep::Remove(vec!["s0".to_owned()])))]
#[case::while_a_pod_still_seals_with_it(DAY, "s0", None)]
#[case::a_clock_that_went_back(-DAY, "s1", None)]
fn a_key_retires_when_everything_that_it_sealed_has_expired(
    #[case] now: i64,
    #[case] sealing: &str,
    #[case] expected: Option<RotationStep>,
) {
    let reports = [report(sealing, &["s0", "s1"])];
    let keys = keys(None, &[("s0", DAY), ("s00", 50 * DAY)]);
    assert_eq!(due(&keys, 1, &reports, now), expected);
}

#[test]
fn a_key_without_a_time_of_retirement_stays() {
    let mut keys = keys(None, &[("s0", 0)]);
    keys.retiring[0].retire_at = None;
    assert_eq!(due(&keys, 1, &[report("s1", &["s1"])], 29 * DAY), None);
}

#[test]
fn a_full_keyring_waits_until_a_key_retires() {
    let ids: Vec<String> = (1..MAX_KEYS).map(|number| format!("r{number}")).collect();
    let retiring: Vec<(&str, i64)> = ids.iter().map(|id| (id.as_str(), 100 * DAY)).collect();
    let reports = [report("s1", &["s1"])];
    assert_eq!(due(&keys(None, &retiring), 1, &reports, 40 * DAY), None);
    assert_eq!(
        due(&keys(None, &retiring[1..]), 1, &reports, 40 * DAY),
        Some(RotationStep::Add)
    );
}

#[test]
fn a_status_that_does_not_say_how_old_its_key_is_needs_the_keyring() {
    let mut keys = keys(None, &[]);
    let input = RotationInput {
        request: None,
        interval: SignedDuration::from_hours(720),
        pods: Pods {
            count: 0,
            reports: Vec::new(),
            suspended: false,
        },
        now: time(0),
    };
    assert!(!needs_keyring(&keys, &input));
    keys.created_at = None;
    assert!(needs_keyring(&keys, &input));
}

/// A keyring as the operator makes it, with a resource version as the API server returns it.
fn secret() -> Secret {
    let mut secret = children(&server(QUICKSTART)).keyring.unwrap();
    secret.metadata.resource_version = Some("7".to_owned());
    secret
}

fn file(secret: &Secret) -> Keyring {
    Keyring::parse(&secret.data.as_ref().unwrap()[names::KEYRING_KEY].0).unwrap()
}

/// Takes a step at a time, with keys whose ids end with the number.
fn take(secret: &Secret, step: &RotationStep, number: u8, now: i64) -> Secret {
    let keys = || {
        let mut keys = fresh();
        keys.sessions.id = [0, 0, 0, number];
        keys.clients.id = [0, 0, 0, number];
        Ok(keys)
    };
    change(secret, step, Some("now".to_owned()), keys, MAX_SESSION, time(now)).unwrap()
}

#[test]
fn a_rotation_adds_a_key_lets_it_seal_and_removes_the_one_before() {
    let added = take(&secret(), &RotationStep::Add, 2, 30 * DAY);
    let keys = keys_in(&added).unwrap();
    assert_eq!(
        (keys.current.as_str(), keys.next.as_deref()),
        ("s00000001", Some("s00000002"))
    );
    assert_eq!(keys.last_request.as_deref(), Some("now"));
    assert_eq!(
        added.metadata.resource_version.as_deref(),
        Some("7"),
        "compare-and-swap"
    );
    assert_eq!(
        added.metadata.owner_references,
        secret().metadata.owner_references
    );

    let sealing = take(&added, &RotationStep::Seal("s00000002".to_owned()), 3, 31 * DAY);
    let keys = keys_in(&sealing).unwrap();
    assert_eq!((keys.current.as_str(), keys.next), ("s00000002", None));
    assert_eq!(keys.created_at, Some(time(30 * DAY)));
    let retiring = &keys.retiring[0];
    assert_eq!(retiring.id, "s00000001");
    assert_eq!(
        retiring.retire_at,
        Some(time(121 * DAY + 3600)),
        "the longest session, and an hour"
    );
    assert_eq!(file(&sealing).clients.sealing, "c00000002");

    let retired = take(
        &sealing,
        &RotationStep::Remove(vec!["s00000001".to_owned()]),
        3,
        122 * DAY,
    );
    assert_eq!(keys_in(&retired).unwrap().retiring, []);
    let clients = file(&retired).clients;
    assert_eq!(
        clients.keys.len(),
        2,
        "ids of registered clients open for a year more"
    );
    let year_later = take(&retired, &RotationStep::Add, 4, 31 * DAY + 366 * DAY);
    let ids: Vec<String> = file(&year_later)
        .clients
        .keys
        .into_iter()
        .map(|key| key.id)
        .collect();
    assert_eq!(ids, ["c00000002", "c00000004"]);
}

#[test]
fn a_key_opens_the_approvals_that_browsers_remember_also_if_sessions_are_shorter() {
    let added = take(&secret(), &RotationStep::Add, 2, 0);
    let short = SignedDuration::from_hours(1);
    let step = RotationStep::Seal("s00000002".to_owned());
    let sealing = change(&added, &step, None, || Ok(fresh()), short, time(0)).unwrap();
    let retiring = &keys_in(&sealing).unwrap().retiring[0];
    assert_eq!(retiring.retire_at, Some(time(30 * DAY + 3600)));
}

#[test]
fn a_full_set_of_client_keys_gets_no_more_and_holds_up_no_session_key() {
    let mut secret = secret();
    let mut keyring = file(&secret);
    let first = keyring.clients.keys[0].clone();
    keyring.clients.keys = (0..MAX_KEYS)
        .map(|number| {
            let mut key = first.clone();
            key.id = if number == 0 {
                first.id.clone()
            } else {
                format!("old{number}")
            };
            key
        })
        .collect();
    let bytes = serde_json::to_vec(&keyring).unwrap();
    let data = secret.data.as_mut().unwrap();
    data.insert(names::KEYRING_KEY.to_owned(), k8s_openapi::ByteString(bytes));
    let added = file(&take(&secret, &RotationStep::Add, 2, DAY));
    assert_eq!(added.clients.keys.len(), MAX_KEYS as usize);
    assert_eq!(added.sessions.keys.len(), 2);
}

#[test]
fn no_step_changes_the_material_of_a_key_or_removes_the_sealing_one() {
    let before = secret();
    let all = RotationStep::Remove(vec!["s00000001".to_owned()]);
    for (number, step) in [RotationStep::Add, RotationStep::Seal("s2".to_owned()), all]
        .iter()
        .enumerate()
    {
        let after = file(&take(
            &before,
            step,
            9,
            i64::try_from(number).unwrap() * 400 * DAY,
        ));
        assert_eq!(
            after.sessions.keys[0].material,
            file(&before).sessions.keys[0].material
        );
        assert_eq!(after.sessions.sealing, "s00000001", "{step:?}");
    }
}

#[test]
fn the_new_key_is_the_next_one_also_after_the_clock_went_back() {
    let added = take(&secret(), &RotationStep::Add, 2, -DAY);
    assert_eq!(keys_in(&added).unwrap().next.as_deref(), Some("s00000002"));
}

#[test]
fn an_operator_that_starts_between_two_writes_goes_on_from_the_keyring() {
    // The status was not written after the key was added: by the status, a key would be added again.
    let stale = keys_in(&secret()).unwrap();
    let added = keys_in(&take(&secret(), &RotationStep::Add, 2, 30 * DAY)).unwrap();
    let old = [report("s00000001", &["s00000001"])];
    let loaded = [report("s00000001", &["s00000001", "s00000002"])];
    let request = |keys: &KeysStatus| {
        let mut keys = keys.clone();
        keys.last_request = Some("first".to_owned());
        keys
    };
    assert_eq!(due(&request(&stale), 1, &old, 30 * DAY), Some(RotationStep::Add));
    assert_eq!(due(&request(&added), 1, &old, 30 * DAY), None);
    let expected = RotationStep::Seal("s00000002".to_owned());
    assert_eq!(
        due(&request(&added), 1, &loaded, 30 * DAY).as_ref(),
        Some(&expected)
    );
    // The status was not written after the key was made to seal.
    let sealing = take(
        &take(&secret(), &RotationStep::Add, 2, 30 * DAY),
        &expected,
        3,
        30 * DAY,
    );
    assert_eq!(
        due(&request(&keys_in(&sealing).unwrap()), 1, &loaded, 30 * DAY),
        None
    );
}

#[test]
fn a_repeated_id_is_not_written() {
    let error = change(
        &secret(),
        &RotationStep::Add,
        None,
        || Ok(fresh()),
        MAX_SESSION,
        time(DAY),
    )
    .unwrap_err();
    assert!(matches!(error, KeyChangeError::Keyring(_)), "{error}");
}

#[test]
fn a_keyring_with_more_than_the_status_has_room_for_is_shortened_and_not_changed() {
    let mut secret = secret();
    let mut keyring = file(&secret);
    let first = keyring.sessions.keys[0].clone();
    for number in 0..100 {
        let mut key = first.clone();
        key.id = format!("old{number}");
        keyring.sessions.keys.push(key);
    }
    let bytes = serde_json::to_vec(&keyring).unwrap();
    secret
        .data
        .as_mut()
        .unwrap()
        .insert(names::KEYRING_KEY.to_owned(), k8s_openapi::ByteString(bytes));
    let text = "\u{e9}".repeat(1000);
    secret
        .annotations_mut()
        .insert(names::ROTATE_KEYS_ANNOTATION.to_owned(), text);
    let keys = keys_in(&secret).unwrap();
    assert_eq!(keys.retiring.len(), MAX_KEYS as usize);
    assert_eq!(
        keys.last_request.unwrap().chars().count(),
        MAX_REQUEST_LENGTH as usize
    );
    let retired = take(&secret, &RotationStep::Remove(vec!["old1".to_owned()]), 2, DAY);
    assert_eq!(file(&retired).sessions.keys.len(), 100);
}

fn reported(count: usize, reports: &[KeyringReport]) -> Option<KeysStatus> {
    let pods = Pods {
        count,
        reports: reports.iter().collect(),
        suspended: false,
    };
    pods.reported_keys("a-behalf-keys")
}

#[test]
fn keys_of_another_tool_are_those_that_every_pod_reports() {
    let old = report("k2", &["k1", "k2"]);
    let new = KeyringReport {
        next: Some("k3".to_owned()),
        ..report("k2", &["k1", "k2", "k3"])
    };
    let keys = reported(2, &[new.clone(), new.clone()]).unwrap();
    assert_eq!((keys.current.as_str(), keys.next.as_deref()), ("k2", Some("k3")));
    assert_eq!(keys.secret_name.as_deref(), Some("a-behalf-keys"));
    let retiring: Vec<&str> = keys.retiring.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(retiring, ["k1"]);
    assert_eq!(
        reported(2, &[old, new.clone()]),
        None,
        "one has not read the new key"
    );
    assert_eq!(reported(2, &[new]), None, "one was not read");
    assert_eq!(reported(0, &[]), None);
}

#[test]
fn a_report_that_names_no_key_ids_is_not_shown() {
    for id in ["run: az ad app delete", "", "K1", "k2345678901234567"] {
        assert_eq!(reported(1, &[report(id, &["k1"])]), None, "{id}");
        assert_eq!(reported(1, &[report("k1", &["k1", id])]), None, "{id}");
    }
}
