//! Tests `Ready`, and which causes change which conditions.

use super::*;

#[test]
fn an_object_of_which_everything_is_verified_is_ready_and_has_an_address() {
    let status = World::new().reconcile();
    for kind in ["Ready", "Accepted", "Available", "FederationVerified", "Verified"] {
        let kind = ConditionType::parse(kind).unwrap();
        assert_eq!(condition(&status, kind).status, "True", "{}", kind.as_str());
    }
    assert_eq!(
        status_and_reason(&status, ConditionType::SessionsDurable),
        pair("False", "MemoryStore")
    );
    assert!(find(&status.conditions, ConditionType::Reconciling).is_none());
    assert!(find(&status.conditions, ConditionType::Stalled).is_none());
    assert_eq!(status.observed_generation, 1);
    assert_eq!(status.verified_generation, Some(1));
    assert_eq!(status.address.unwrap().url, "https://mcp.contoso.example/mcp");
    assert_eq!(status.server_info.unwrap().tools, 4);
    assert_eq!(status.keys.unwrap().current, "s00000001");
    let federation = status.federation.unwrap();
    assert_eq!(federation.subject, "system:serviceaccount:mcp:azure-devops");
    assert_eq!(federation.redirect_uri, "https://mcp.contoso.example/callback");
    assert!(
        federation
            .command
            .unwrap()
            .starts_with("az ad app federated-credential create --id 2222")
    );
}

#[test]
fn a_settled_system_computes_the_same_status_again() {
    let mut world = World::new();
    assert_eq!(world.reconcile(), world.reconcile());
}

#[test]
fn a_new_object_has_only_unknown_observations() {
    let mut world = World::new();
    world.deployment = json!({});
    world.pods.clear();
    world.reports.clear();
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, ConditionType::Accepted),
        pair("True", "Accepted")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::Available),
        pair("False", "RolloutInProgress")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::FederationVerified),
        pair("Unknown", "NotObserved")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::Verified),
        pair("Unknown", "NotObserved")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::Ready),
        pair("False", "RolloutInProgress")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::Reconciling),
        pair("True", "RolloutInProgress")
    );
    assert_eq!(
        (status.address, status.server_info, status.verified_generation),
        (None, None, None)
    );
    let federation = status.federation.unwrap();
    assert_eq!(
        federation.issuer.as_deref(),
        Some(ISSUER),
        "the API server knows it before any Pod runs"
    );
    assert!(federation.command.is_some());
}

#[rstest]
#[case::refused("Accepted", "CertificateAuthorityNotFound", |world: &mut World| {
    world.refusals = Some(Refusals::one(Refusal::CertificateAuthorityNotFound { field: "entra.certificateAuthorityRef", name: "a".into(), key: "b".into() }));
})]
#[case::crash("Available", "ContainerCrashing", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
})]
#[case::image("Available", "ImagePullFailed", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["initContainerStatuses"][0]["state"] = json!({"waiting": {"reason": "ErrImagePull"}});
})]
#[case::misconfigured("Available", "ContainerMisconfigured", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CreateContainerConfigError"}});
})]
#[case::unschedulable("Available", "Unschedulable", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"] = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"},
    ]});
})]
#[case::eviction("Available", "PodFailed", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    evict(&mut world.pods[0]);
})]
#[case::quota("Available", "PodsRefused", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    world.deployment["conditions"] = json!([
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
    ]);
})]
#[case::probe("Available", "PodsNotReady", |world: &mut World| {
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["conditions"][0]["status"] = json!("False");
    world.pods[0]["status"]["containerStatuses"][0]["ready"] = json!(false);
})]
#[case::federation("FederationVerified", "FicSubjectMismatch", |world: &mut World| {
    fail_federation(world, "FicSubjectMismatch", "Entra refused (AADSTS700213).");
})]
#[case::handshake("Verified", "ServerUnreachable", |world: &mut World| {
    let handshake = &mut world.document().handshake;
    handshake.outcome = contract::Outcome::Failed;
    handshake.reason = "ServerUnreachable".to_owned();
    handshake.server_info = None;
})]
fn one_cause_changes_one_condition_and_ready_and_its_end_restores_them(
    #[case] kind: &str,
    #[case] reason: &str,
    #[case] cause: Break,
) {
    let mut world = World::new();
    let good = world.reconcile();
    cause(&mut world);
    let bad = world.reconcile();
    assert_eq!(changed(&good, &bad), ["Ready", kind]);
    assert_eq!(
        status_and_reason(&bad, ConditionType::parse(kind).unwrap()),
        pair("False", reason)
    );
    assert_eq!(
        status_and_reason(&bad, ConditionType::Ready),
        pair("False", reason)
    );
    let mended = World {
        server: world.server,
        now: world.now,
        ..World::new()
    }
    .reconcile();
    assert_eq!(
        status_and_reason(&mended, ConditionType::Ready),
        pair("True", "Ready")
    );
    assert_eq!(
        status_and_reason(&mended, ConditionType::parse(kind).unwrap()).0,
        "True"
    );
}

#[rstest]
#[case("Unreachable")]
#[case("PolicyBlocked")]
fn an_outage_is_unknown_and_leaves_ready_as_it_was(#[case] reason: &str) {
    let mut world = World::new();
    let good = world.reconcile();
    world.document().federation.outcome = contract::Outcome::Unknown;
    world.document().federation.reason = reason.to_owned();
    let outage = world.reconcile();
    assert_eq!(
        status_and_reason(&outage, ConditionType::FederationVerified),
        pair("Unknown", reason)
    );
    assert_eq!(
        status_and_reason(&outage, ConditionType::Ready),
        pair("True", "Ready")
    );
    let ready = condition(&outage, ConditionType::Ready);
    assert!(
        ready.message.contains("FederationVerified is Unknown"),
        "{}",
        ready.message
    );
    assert_eq!(
        ready.last_transition_time,
        condition(&good, ConditionType::Ready).last_transition_time
    );
}

/// Regression: `mcp-lifecycle-operator#111`, a web server that counted as a ready MCP server.
#[test]
fn an_object_that_was_never_verified_is_not_ready() {
    let mut world = World::new();
    world.document().federation.outcome = contract::Outcome::Unknown;
    world.document().federation.reason = "Unreachable".to_owned();
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::Ready),
        pair("Unknown", "Verifying")
    );
}

#[test]
fn ready_is_restored_during_an_outage_if_this_generation_was_verified() {
    let mut world = World::new();
    world.reconcile();
    world.deployment["availableReplicas"] = json!(0);
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::Ready).0,
        "False"
    );
    world.deployment["availableReplicas"] = json!(1);
    world.document().federation.outcome = contract::Outcome::Unknown;
    world.document().federation.reason = "Unreachable".to_owned();
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::Ready),
        pair("True", "Ready")
    );
}

#[test]
fn a_pod_that_starts_changes_no_earlier_observation() {
    let mut world = World::new();
    let good = world.reconcile();
    let document = world.document();
    document.federation.outcome = contract::Outcome::Unknown;
    document.federation.observed_at = None;
    document.handshake.outcome = contract::Outcome::Unknown;
    document.handshake.reason = "ServerStarting".to_owned();
    document.handshake.server_info = None;
    assert_eq!(changed(&good, &world.reconcile()), Vec::<&str>::new());
    world.reports.clear();
    let gone = world.reconcile();
    assert_eq!(changed(&good, &gone), Vec::<&str>::new());
    assert!(gone.address.is_some() && gone.server_info.is_some());
}

#[test]
fn a_suspended_object_is_not_ready_and_has_only_unknown_observations() {
    let mut world = World::of(quickstart_with(json!({"suspend": true})));
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, ConditionType::Available),
        pair("False", "Suspended")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::FederationVerified),
        pair("Unknown", "Suspended")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::Ready),
        pair("False", "Suspended")
    );
    assert!(find(&status.conditions, ConditionType::Reconciling).is_none());
    assert_eq!(status.address, None);
}

#[test]
fn the_report_of_a_failing_pod_counts_before_others_and_that_of_a_starting_pod_does_not() {
    let mut world = World::new();
    let mut other = world.reports[0].clone();
    other.document.as_mut().unwrap().federation.outcome = contract::Outcome::Unknown;
    world.reports.push(other);
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::FederationVerified).0,
        "True"
    );
    let other = world.reports[1].document.as_mut().unwrap();
    other.federation.outcome = contract::Outcome::Failed;
    other.federation.reason = "FicNotFound".to_owned();
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::FederationVerified),
        pair("False", "FicNotFound")
    );
}

#[test]
fn a_server_that_requires_a_user_is_ready_after_it_answered_one() {
    let mut world = World::new();
    let handshake = &mut world.document().handshake;
    handshake.outcome = contract::Outcome::Unknown;
    handshake.reason = "AuthRequired".to_owned();
    handshake.server_info = None;
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, ConditionType::Verified),
        pair("Unknown", "AuthRequired")
    );
    assert_eq!(condition(&status, ConditionType::Ready).status, "Unknown");

    let handshake = &mut world.document().handshake;
    handshake.outcome = contract::Outcome::Verified;
    handshake.reason = "UserAnswered".to_owned();
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, ConditionType::Verified),
        pair("True", "UserAnswered")
    );
    assert_eq!(condition(&status, ConditionType::Ready).status, "True");
}

#[test]
fn an_object_that_waits_for_the_rollouts_of_others_stays_ready_and_is_not_in_progress() {
    let mut world = World::new();
    world.reconcile();
    world.decision = RolloutDecision::Waits;
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, ConditionType::UpdatePending),
        pair("True", "RolloutWaiting")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::Ready),
        pair("True", "Ready")
    );
    assert!(find(&status.conditions, ConditionType::Reconciling).is_none());
    // It shows what its Pods run with, which the plan may no longer be.
    assert!(status.federation.is_some());
    world.configurations.clear();
    assert!(world.reconcile().federation.is_none());
    world.decision = RolloutDecision::Now;
    let status = world.reconcile();
    assert!(find(&status.conditions, ConditionType::UpdatePending).is_none());
}
