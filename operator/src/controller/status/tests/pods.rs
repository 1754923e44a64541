//! Tests which Pods and which of their reports count.

use super::*;

#[test]
fn a_container_that_has_just_started_is_not_a_fault() {
    let mut world = World::new();
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["conditions"][0]["status"] = json!("False");
    world.pods[0]["status"]["containerStatuses"][0]["ready"] = json!(false);
    world.pods[0]["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] =
        json!(time(95).to_string());
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::Available),
        pair("False", "RolloutInProgress")
    );
    world.now = 120;
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::Available),
        pair("False", "PodsNotReady")
    );
}

#[test]
fn an_evicted_pod_is_reported_in_the_words_of_the_kubelet_and_no_starting_pod_is_taken_for_it() {
    let available = |world: &mut World| condition(&world.reconcile(), ConditionType::Available).clone();
    let mut world = World::new();
    world.deployment["availableReplicas"] = json!(0);
    let mut starting = world.pods[0].clone();
    starting["metadata"]["name"] = json!("azure-devops-2");
    starting["status"] = json!({"phase": "Pending", "startTime": time(95).to_string()});
    evict(&mut world.pods[0]);
    let ended = "ended at 2026-01-01T00:01:00Z: Evicted, \"Usage of EmptyDir volume \\\"writable-0\\\" exceeds the limit \
                 \\\"16Mi\\\".\"";

    // 90 s after it started. Its volumes are gone, which says nothing about the Secrets that it mounted.
    let alone = available(&mut world);
    assert_eq!(alone.reason, "PodFailed");
    assert!(alone.message.contains(ended), "{}", alone.message);

    world.pods.push(starting);
    let beside = available(&mut world);
    assert_eq!(beside.reason, "RolloutInProgress");
    assert!(
        beside.message.ends_with(&format!("an earlier one {ended}")),
        "{}",
        beside.message
    );

    world.pods[1]["status"] = pod("")["status"].clone();
    world.pods[1]["status"]["containerStatuses"][0]["state"] =
        json!({"waiting": {"reason": "CrashLoopBackOff"}});
    assert_eq!(
        available(&mut world).reason,
        "ContainerCrashing",
        "a live Pod decides before an ended one"
    );
}

/// As a kubelet 1.34 leaves a Pod whose containers all ended with exit code 0 after the eviction.
#[test]
fn an_evicted_pod_without_a_reason_is_told_with_the_command_that_shows_the_words_of_the_kubelet() {
    let message = |world: &mut World| {
        condition(&world.reconcile(), ConditionType::Available)
            .message
            .clone()
    };
    let mut world = World::new();
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["metadata"]["namespace"] = json!("mcp");
    evict(&mut world.pods[0]);
    let status = &mut world.pods[0]["status"];
    status["phase"] = json!("Succeeded");
    for lost in ["reason", "message"] {
        status[lost] = Value::Null;
    }
    let told = message(&mut world);
    let command =
        "kubectl get events --namespace mcp --field-selector involvedObject.name=azure-devops-1,type=Warning";
    assert!(
        told.contains("ended at 2026-01-01T00:01:00Z: the kubelet ended it") && told.contains(command),
        "{told}"
    );

    // An eviction for the sake of the node leaves a condition.
    world.pods[0]["status"]["conditions"] = json!([{
        "type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet",
        "message": "The node was low on resource: memory.", "lastTransitionTime": time(60).to_string(),
    }]);
    let told = message(&mut world);
    let words = "TerminationByKubelet, \"The node was low on resource: memory.\"";
    assert!(told.contains(words), "{told}");
}

#[test]
fn a_pod_that_a_node_refused_is_told_with_the_newest_words() {
    let mut world = World::new();
    world.deployment["availableReplicas"] = json!(0);
    evict(&mut world.pods[0]);
    let mut refused = world.pods[0].clone();
    refused["metadata"]["creationTimestamp"] = json!(time(90).to_string());
    refused["status"] =
        json!({"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "Allocate failed"});
    world.pods.push(refused);
    let status = world.reconcile();
    let message = &condition(&status, ConditionType::Available).message;
    let expected =
        "the last one ended at 2026-01-01T00:01:30Z: UnexpectedAdmissionError, \"Allocate failed\";";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn observations_of_earlier_pods_do_not_count_after_an_edit() {
    let mut before = World::new();
    before.reconcile();
    let mut world = World::of(quickstart_with(json!({"pod": {"annotations": {"a": "b"}}})));
    world.server.status = before.server.status;
    world.server.metadata.generation = Some(2);
    world.reports.clear();
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, ConditionType::FederationVerified),
        pair("Unknown", "NotObserved")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::Ready),
        pair("Unknown", "Verifying")
    );
    assert_eq!(
        (status.observed_generation, status.verified_generation),
        (2, Some(1))
    );
}

#[test]
fn observations_of_earlier_pods_do_not_count_after_an_upgrade_of_the_operator() {
    let mut world = World::new();
    world.reconcile();
    // Another image in the same generation.
    world.template = Some(format!("sha256:{}", "0".repeat(64)));
    for _ in 0..2 {
        let status = world.reconcile();
        for kind in [ConditionType::FederationVerified, ConditionType::Verified] {
            assert_eq!(status_and_reason(&status, kind), pair("Unknown", "NotObserved"));
        }
        assert_ne!(status_and_reason(&status, ConditionType::Ready).0, "True");
        assert_eq!(status.verified_generation, None);
    }
}

#[test]
fn a_template_that_somebody_wrote_into_the_deployment_of_a_refused_object_is_ignored() {
    let mut world = World::new();
    world.reconcile();
    world.refusals = Some(Refusals::one(Refusal::PublicUrlTaken {
        namespace: "mcp".to_owned(),
        name: "older".to_owned(),
    }));
    world.template = Some("x".repeat(200));
    assert_eq!(world.reconcile().observed_template, None);
}

#[test]
fn a_template_that_could_not_be_read_while_refused_verifies_no_later_pods() {
    let mut world = World::new();
    world.reconcile();
    // The generation stays the same: another object caused the refusal.
    world.refusals = Some(Refusals::one(Refusal::PublicUrlTaken {
        namespace: "mcp".to_owned(),
        name: "older".to_owned(),
    }));
    world.template = Some("no digest".to_owned());
    world.reconcile();
    world.refusals = None;
    world.template = Some(format!("sha256:{}", "0".repeat(64)));
    let status = world.reconcile();
    assert_ne!(status_and_reason(&status, ConditionType::Ready).0, "True");
    assert_eq!(status.verified_generation, None);
}

#[test]
fn observations_of_the_same_pods_count_after_a_refused_edit_was_reverted() {
    let mut world = World::new();
    let good = world.reconcile();
    // The Pod was replaced. No user has come since.
    world.document().sign_in = Some(sign_in(contract::Outcome::Unknown, "NotObserved", None));
    assert_eq!(changed(&good, &world.reconcile()), Vec::<&str>::new());
    world.server.metadata.generation = Some(2);
    world.refusals = Some(Refusals::one(Refusal::PublicUrlTaken {
        namespace: "mcp".to_owned(),
        name: "older".to_owned(),
    }));
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::Accepted).0,
        "False"
    );
    world.server.metadata.generation = Some(3);
    world.refusals = None;
    let status = world.reconcile();
    for &kind in ConditionType::ALL {
        let status_and_reason_of =
            |status| find(status, kind).map(|condition| (&condition.status, &condition.reason));
        assert_eq!(
            status_and_reason_of(&status.conditions),
            status_and_reason_of(&good.conditions),
            "{kind:?}"
        );
    }
}

#[rstest]
#[case::another_template(|report: &mut PodReport| report.template = Some("sha256:0".to_owned()))]
#[case::no_template(|report: &mut PodReport| report.template = None)]
#[case::another_subject(|report: &mut PodReport| {
    report.document.as_mut().unwrap().federation.subject = Some("system:serviceaccount:mcp:other".to_owned());
})]
#[case::another_audience(|report: &mut PodReport| {
    report.document.as_mut().unwrap().federation.audience = Some("api://other".to_owned());
})]
#[case::another_digest(|report: &mut PodReport| {
    report.document.as_mut().unwrap().configuration_digest = "sha256:0".to_owned();
})]
fn a_pod_of_another_configuration_does_not_count(#[case] change: fn(&mut PodReport)) {
    let mut world = World::new();
    change(&mut world.reports[0]);
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, ConditionType::FederationVerified),
        pair("Unknown", "NotObserved")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::Verified),
        pair("Unknown", "NotObserved")
    );
}

#[rstest]
#[case::service_account(json!({"entra": {"federation": {"serviceAccountName": "shared"}}}))]
#[case::log_level(json!({"sidecar": {"logLevel": "Trace"}}))]
#[case::environment(json!({"server": {"env": [{"name": "TZ", "value": "UTC"}]}}))]
fn a_pod_from_before_an_edit_of_its_template_does_not_count(#[case] patch: Value) {
    let mut world = World::new();
    let before = world.reconcile();
    world.server = McpServer {
        status: Some(before),
        ..quickstart_with(patch)
    };
    world.server.metadata.generation = Some(2);
    // An old Pod reports no subject, so only its template distinguishes it.
    world.document().federation.subject = None;
    let status = world.reconcile();
    for kind in [ConditionType::FederationVerified, ConditionType::Verified] {
        assert_eq!(status_and_reason(&status, kind), pair("Unknown", "NotObserved"));
    }
    assert_eq!(status.verified_generation, Some(1));
}

#[test]
fn a_fault_of_an_old_pod_is_not_a_fault_of_the_new_template() {
    let mut world = World::new();
    world.server = quickstart_with(json!({"sidecar": {"logLevel": "Trace"}}));
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["containerStatuses"][0]["state"] =
        json!({"waiting": {"reason": "CrashLoopBackOff"}});
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::Available),
        pair("False", "RolloutInProgress")
    );
}

#[test]
fn the_issuer_that_a_pod_reports_is_not_in_the_command() {
    let forged = "https://issuer.attacker.example/";
    let mut world = World::new();
    world.document().federation.issuer = Some(forged.to_owned());
    let status = world.reconcile();
    let federation = status.federation.clone().unwrap();
    assert_eq!(federation.issuer.as_deref(), Some(ISSUER));
    assert!(federation.command.unwrap().contains(ISSUER));
    let condition = condition(&status, ConditionType::FederationVerified);
    assert!(
        condition.message.contains("another issuer"),
        "{}",
        condition.message
    );
    assert!(!serde_json::to_string(&status).unwrap().contains("attacker"));

    world.document().federation.observed_at = None;
    assert_eq!(
        changed(&status, &world.reconcile()),
        Vec::<&str>::new(),
        "said once"
    );

    // Not even where the API server shows none, and an earlier status proves nothing either.
    world
        .server
        .status
        .as_mut()
        .unwrap()
        .federation
        .as_mut()
        .unwrap()
        .issuer = Some(forged.to_owned());
    world.issuer = None;
    let federation = world.reconcile().federation.unwrap();
    assert_eq!((federation.issuer, federation.command), (None, None));
}

#[test]
fn a_silent_pod_is_reported_after_several_failures_unless_most_pods_are_unreachable() {
    let mut world = World::new();
    world.reconcile();
    let unread = |failures| {
        Err(Unread {
            failures,
            error: "silent".to_owned(),
        })
    };
    world.reports[0].document = unread(UNREACHABLE_AFTER - 1);
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::Verified).0,
        "True"
    );
    world.most_pods_unreachable = true;
    world.reports[0].document = unread(UNREACHABLE_AFTER);
    assert_eq!(
        status_and_reason(&world.reconcile(), ConditionType::Verified).0,
        "True"
    );
    world.most_pods_unreachable = false;
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, ConditionType::Verified),
        pair("Unknown", "PodUnreachable")
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::FederationVerified),
        pair("Unknown", "PodUnreachable")
    );
    assert_eq!(status_and_reason(&status, ConditionType::Ready).0, "True");
}
