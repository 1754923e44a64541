//! Tests what the status says about the session store, and about the number of Pods.

use contract::{SessionsReport, StoreKind};

use super::*;

fn with_redis() -> World {
    let mut world = World::of(quickstart_with(redis(json!({}))));
    world.deployment =
        json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
    world.document().sessions = report(Some(true), Some("noeviction"));
    world
}

fn report(reachable: Option<bool>, policy: Option<&str>) -> SessionsReport {
    SessionsReport {
        store: StoreKind::Redis,
        reachable,
        eviction_policy: policy.map(str::to_owned),
    }
}

#[rstest]
#[case::kept(report(Some(true), Some("noeviction")), "True", "SharedStore")]
#[case::deleted(report(Some(true), Some("allkeys-lru")), "False", "EvictionPolicy")]
#[case::not_told(report(Some(true), None), "Unknown", "EvictionPolicyUnknown")]
#[case::away(report(Some(false), None), "Unknown", "StoreUnreachable")]
#[case::an_older_sidecar(report(None, None), "Unknown", "NotObserved")]
fn the_sessions_are_as_durable_as_the_pods_see_the_redis(
    #[case] report: SessionsReport,
    #[case] status: &str,
    #[case] reason: &str,
) {
    let mut world = with_redis();
    world.document().sessions = report;
    let computed = world.reconcile();
    let kind = ConditionType::SessionsDurable;
    assert_eq!(status_and_reason(&computed, kind), pair(status, reason));
    assert_eq!(
        status_and_reason(&computed, ConditionType::Ready),
        pair("True", "Ready")
    );
}

#[test]
fn a_redis_that_deletes_sessions_names_the_setting_and_no_text_of_the_redis() {
    let mut world = with_redis();
    world.document().sessions = report(Some(true), Some("run: az ad app delete"));
    let status = world.reconcile();
    let message = &condition(&status, ConditionType::SessionsDurable).message;
    assert!(
        message.contains("set its maxmemory-policy to noeviction"),
        "{message}"
    );
    assert!(!message.contains("az ad"), "{message}");
}

#[test]
fn the_observation_of_a_redis_stays_while_no_pod_reports_and_ends_with_another_store() {
    let mut world = with_redis();
    let good = world.reconcile();
    world.reports.clear();
    assert_eq!(changed(&good, &world.reconcile()), Vec::<&str>::new());

    let mut world = with_redis();
    world.reports.clear();
    let kind = ConditionType::SessionsDurable;
    let mut memory = World::new();
    assert_eq!(
        status_and_reason(&memory.reconcile(), kind),
        pair("False", "MemoryStore")
    );
    world.server.status = memory.server.status;
    world.server.metadata.generation = Some(2);
    assert_eq!(
        status_and_reason(&world.reconcile(), kind),
        pair("Unknown", "NotObserved")
    );
}

#[test]
fn a_refused_edit_leaves_the_observation_of_the_running_redis() {
    let mut world = with_redis();
    let good = world.reconcile();
    world.server.metadata.generation = Some(2);
    world.refusals = Some(Refusals::one(Refusal::ServiceAccountNotFound {
        name: "shared".to_owned(),
    }));
    let kind = ConditionType::SessionsDurable;
    assert_eq!(condition(&world.reconcile(), kind), condition(&good, kind));
}

#[test]
fn pods_without_their_redis_are_unavailable_and_the_message_says_why() {
    let mut world = with_redis();
    world.reconcile();
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["status"]["conditions"][0]["status"] = json!("False");
    world.pods[0]["status"]["initContainerStatuses"][0]["ready"] = json!(false);
    world.document().sessions = report(Some(false), None);
    let status = world.reconcile();
    let kind = ConditionType::Available;
    assert_eq!(
        status_and_reason(&status, kind),
        pair("False", "StoreUnreachable")
    );
    let message = &condition(&status, kind).message;
    assert!(message.contains("spec.sessions.store"), "{message}");
    // A server that does not answer has another cause.
    world.pods[0]["status"]["containerStatuses"][0]["ready"] = json!(false);
    assert_eq!(
        status_and_reason(&world.reconcile(), kind),
        pair("False", "PodsNotReady")
    );
}

#[test]
fn a_pod_without_its_secret_is_unavailable_and_the_message_names_the_secret() {
    let mut world = with_redis();
    world.deployment["availableReplicas"] = json!(0);
    world.pods[0]["spec"] = json!({"containers": [], "volumes": [
        {"name": "store-credentials", "secret": {"secretName": "redis-behalf-store"}},
        {"name": "store-certificate-authority", "configMap": {"name": "redis-ca"}},
        {"name": "host-key", "emptyDir": {}},
    ]});
    let waiting = json!({"waiting": {"reason": "PodInitializing"}});
    let container = |name: &str| json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": waiting});
    world.pods[0]["status"] = json!({
        "phase": "Pending", "startTime": time(90).to_string(),
        "conditions": [{"type": "PodReadyToStartContainers", "status": "False"}, {"type": "PodScheduled", "status": "True"}],
        "initContainerStatuses": [container("auth-sidecar")],
        "containerStatuses": [container("mcp-server")],
    });
    let kind = ConditionType::Available;
    assert_eq!(
        status_and_reason(&world.reconcile(), kind),
        pair("False", "RolloutInProgress")
    );
    world.now = 121;
    let status = world.reconcile();
    assert_eq!(
        status_and_reason(&status, kind),
        pair("False", "VolumesUnavailable")
    );
    let message = &condition(&status, kind).message;
    let names = "Secret redis-behalf-store, ConfigMap redis-ca;";
    assert!(message.contains(names), "{message}");
}

#[test]
fn the_scale_of_the_status_is_that_of_the_deployment() {
    let mut world = with_redis();
    world.deployment["replicas"] = json!(3);
    let status = world.reconcile();
    assert_eq!(status.replicas, Some(3));
    assert_eq!(
        status.selector.as_deref(),
        Some("behalf.dev/mcp-server=azure-devops")
    );

    let mut world = World::new();
    world.deployment = json!({});
    assert_eq!(world.reconcile().replicas, Some(0));
    // The Pods of a refused object go on.
    world.deployment = json!({"replicas": 1});
    world.refusals = Some(Refusals::one(Refusal::ServiceAccountNotFound {
        name: "shared".to_owned(),
    }));
    assert_eq!(world.reconcile().replicas, Some(1));
}

#[test]
fn a_keyring_that_a_pod_cannot_use_is_told_with_every_store_and_leaves_the_pods_ready() {
    for mut world in [with_redis(), World::new()] {
        world.document().keyring.unusable = true;
        let status = world.reconcile();
        let kind = ConditionType::SessionsDurable;
        assert_eq!(status_and_reason(&status, kind), pair("False", "KeyringUnusable"));
        let ready = status_and_reason(&status, ConditionType::Ready);
        assert_eq!(ready, pair("True", "Ready"));
    }
}
