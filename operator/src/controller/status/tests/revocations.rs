//! Tests `RevocationsInForce`.

use super::*;

const KIND: ConditionType = ConditionType::RevocationsInForce;

/// Two ready Pods that report these digests.
fn with_two_pods(digests: [Option<&str>; 2]) -> World {
    let mut world = World::new();
    world.pods.push(world.pods[0].clone());
    world.reports.push(world.reports[0].clone());
    for (report, digest) in world.reports.iter_mut().zip(digests) {
        report.document.as_mut().unwrap().revocations_digest = digest.map(str::to_owned);
    }
    world
}

fn unread(failures: u32) -> Unread {
    Unread {
        failures,
        error: "connection refused".to_owned(),
    }
}

const OTHER: &str = "sha256:0";

#[rstest]
#[case::all([Some(NO_REVOCATIONS), Some(NO_REVOCATIONS)], "True", "RevocationsLoaded")]
#[case::one_of_two([Some(NO_REVOCATIONS), Some(OTHER)], "False", "RevocationsPending")]
#[case::none([Some(OTHER), Some(OTHER)], "False", "RevocationsPending")]
#[case::one_of_an_older_sidecar([Some(NO_REVOCATIONS), None], "Unknown", "NotObserved")]
fn revocations_are_in_force_when_every_pod_reports_their_digest(
    #[case] digests: [Option<&str>; 2],
    #[case] status: &str,
    #[case] reason: &str,
) {
    let computed = with_two_pods(digests).reconcile();
    assert_eq!(status_and_reason(&computed, KIND), pair(status, reason));
    let ready = status_and_reason(&computed, ConditionType::Ready);
    assert_eq!(ready, pair("True", "Ready"), "informative");
}

#[test]
fn the_message_counts_the_pods_without_the_present_revocations() {
    let status = with_two_pods([Some(NO_REVOCATIONS), Some(OTHER)]).reconcile();
    let message = &condition(&status, KIND).message;
    assert!(message.starts_with("1 of 2 Pods"), "{message}");
}

#[test]
fn a_pod_of_an_older_template_counts() {
    let mut world = with_two_pods([Some(NO_REVOCATIONS), Some(OTHER)]);
    world.reports[1].template = Some("sha256:old".to_owned());
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, KIND),
        pair("False", "RevocationsPending")
    );
}

#[test]
fn revocations_are_not_said_to_be_in_force_while_a_ready_pod_cannot_be_read() {
    let mut world = with_two_pods([Some(NO_REVOCATIONS); 2]);
    world.reports[1].document = Err(unread(1));
    let status = world.reconcile();
    assert_eq!(status_and_reason(&status, KIND), pair("Unknown", "NotObserved"));

    // The condition that was True at this generation stays while fewer than three reads of a Pod fail.
    let mut world = with_two_pods([Some(NO_REVOCATIONS); 2]);
    world.reconcile();
    world.reports[1].document = Err(unread(1));
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, KIND),
        pair("True", "RevocationsLoaded")
    );
    world.reports[1].document = Err(unread(UNREACHABLE_AFTER));
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, KIND),
        pair("Unknown", "PodUnreachable")
    );
    let message = &condition(&status, KIND).message;
    assert!(message.contains("connection refused"), "{message}");
}

#[test]
fn an_operator_that_sees_most_pods_no_more_blames_none_of_them() {
    let mut world = with_two_pods([Some(NO_REVOCATIONS); 2]);
    world.reports[1].document = Err(unread(UNREACHABLE_AFTER));
    world.most_pods_unreachable = true;
    let status = world.reconcile();
    assert_eq!(status_and_reason(&status, KIND), pair("Unknown", "NotObserved"));
}

#[test]
fn revocations_that_were_pending_are_not_observed_when_no_pod_reports() {
    let mut world = with_two_pods([Some(NO_REVOCATIONS), Some(OTHER)]);
    world.reconcile();
    world.reports.clear();
    let status = world.reconcile();
    assert_eq!(status_and_reason(&status, KIND), pair("Unknown", "NotObserved"));
}

#[test]
fn the_pods_of_a_suspended_object_load_no_revocations() {
    let mut world = World::of(quickstart_with(json!({"suspend": true})));
    let status = world.reconcile();
    assert_eq!(status_and_reason(&status, KIND), pair("Unknown", "Suspended"));
}

#[test]
fn a_new_revocation_is_not_in_force_by_the_observation_of_an_earlier_generation() {
    let mut world = World::new();
    world.reconcile();
    world.server.metadata.generation = Some(2);
    world.reports.clear();
    let status = world.reconcile();
    assert_eq!(status_and_reason(&status, KIND), pair("Unknown", "NotObserved"));
}

#[test]
fn a_refused_object_says_whether_its_revocations_are_in_force() {
    let mut world = World::new();
    world.reconcile();
    world.server.metadata.generation = Some(2);
    world.refusals = Some(Refusals::one(Refusal::ServiceAccountNotFound {
        name: "shared".to_owned(),
    }));
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, KIND),
        pair("True", "RevocationsLoaded")
    );
    assert_eq!(condition(&status, KIND).observed_generation, Some(2));
}

#[test]
fn revocations_that_could_not_be_written_are_not_in_force_whatever_the_pods_report() {
    let mut world = World::new();
    world.revocations = RevocationsOutcome::Failed {
        problem: "the API server refuses Secret a".to_owned(),
        refusal: None,
    };
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, KIND),
        pair("False", "RevocationsNotWritten")
    );
    let message = &condition(&status, KIND).message;
    assert!(message.contains("refuses Secret a"), "{message}");
}
