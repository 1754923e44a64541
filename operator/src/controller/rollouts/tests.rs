//! Tests which objects wait for the rollouts of others.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::testing::{QUICKSTART, children, quickstart_with, server, time};

/// The time of each decision, in seconds. The Pods have been unavailable since 0.
const NOW: i64 = 60;

/// An object whose Deployment another release of the operator built, with everything that it owns.
struct Upgraded {
    server: McpServer,
    live: Deployment,
    configurations: Vec<Arc<ConfigMap>>,
}

impl Upgraded {
    fn new() -> Self {
        let mut server = server(QUICKSTART);
        applied_at(&mut server, 1);
        let built = children(&server);
        let mut live = built.deployment;
        live.annotations_mut().insert(
            names::TEMPLATE_ANNOTATION.to_owned(),
            "of-an-older-release".to_owned(),
        );
        settle(&mut live);
        Self {
            server,
            live,
            configurations: vec![Arc::new(built.config_map)],
        }
    }

    fn is_caused_by_upgrade(&self) -> bool {
        let existing = ExistingChildren {
            deployments: vec![Arc::new(self.live.clone())],
            config_maps: self.configurations.clone(),
            ..ExistingChildren::default()
        };
        is_caused_by_upgrade(
            &self.server,
            &children(&self.server).deployment,
            &existing,
            time(NOW),
        )
    }
}

fn applied_at(server: &mut McpServer, generation: i64) {
    let available: Condition = serde_json::from_value(json!({
        "type": "Available", "status": "True", "reason": "PodsServing", "message": "",
        "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
    }))
    .unwrap();
    server.status.get_or_insert_default().conditions = vec![available];
}

/// Gives a Deployment the status of one whose rollout has ended.
fn settle(live: &mut Deployment) {
    set_status(live, &progressing("True", "NewReplicaSetAvailable"));
}

fn set_status(live: &mut Deployment, status: &Value) {
    live.metadata.generation = Some(2);
    live.status = Some(serde_json::from_value(status.clone()).unwrap());
}

fn progressing(status: &str, reason: &str) -> Value {
    json!({
        "observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
        "conditions": [{"type": "Progressing", "status": status, "reason": reason}],
    })
}

/// The status of a Deployment with other counts, whose Pods are not available and whose rollout before this one has ended.
fn counting(replicas: i32, updated: i32) -> Value {
    json!({"observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated, "conditions": [
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
        {"type": "Available", "status": "False", "lastTransitionTime": time(0).to_string()},
    ]})
}

/// Adds a condition to a status.
fn with(mut status: Value, kind: &str) -> Value {
    let conditions = status["conditions"].as_array_mut().unwrap();
    conditions.push(json!({"type": kind, "status": "True"}));
    status
}

#[test]
fn new_pods_of_an_unchanged_spec_are_caused_by_an_upgrade() {
    assert!(Upgraded::new().is_caused_by_upgrade());
}

#[rstest]
#[case::it_has_no_deployment_yet(|of: &mut Upgraded| of.live.metadata.name = Some("another".to_owned()))]
#[case::the_deployment_is_another_objects(|of: &mut Upgraded| of.live.metadata.owner_references = None)]
#[case::its_pods_stay_as_they_are(|of: &mut Upgraded| {
    of.live = children(&of.server).deployment;
    settle(&mut of.live);
})]
#[case::its_spec_was_edited(|of: &mut Upgraded| of.server.metadata.generation = Some(2))]
#[case::its_spec_was_refused_until_now(|of: &mut Upgraded| {
    of.server.metadata.generation = Some(2);
    of.server.status.as_mut().unwrap().observed_generation = 2;
})]
#[case::its_status_is_lost(|of: &mut Upgraded| of.server.status = None)]
#[case::it_has_no_pods(|of: &mut Upgraded| of.live.spec.as_mut().unwrap().replicas = Some(0))]
#[case::its_pods_are_being_replaced(|of: &mut Upgraded| of.live.metadata.generation = Some(3))]
#[case::its_pods_serve_nobody(|of: &mut Upgraded| {
    of.live.status.as_mut().unwrap().available_replicas = None;
})]
#[case::its_last_rollout_failed(|of: &mut Upgraded| {
    set_status(&mut of.live, &progressing("False", "ProgressDeadlineExceeded"));
})]
#[case::its_configuration_was_deleted(|of: &mut Upgraded| of.configurations.clear())]
fn an_object_does_not_wait_when(#[case] change: fn(&mut Upgraded)) {
    let mut of = Upgraded::new();
    change(&mut of);
    assert!(!of.is_caused_by_upgrade());
}

#[rstest]
#[case::the_controller_has_not_seen_it(json!({"observedGeneration": 1}), true)]
#[case::it_has_no_status(json!({}), true)]
#[case::a_pod_was_made(progressing("True", "ReplicaSetUpdated"), true)]
#[case::it_has_ended(progressing("True", "NewReplicaSetAvailable"), false)]
#[case::it_has_ended_and_a_pod_crashes_now(counting(1, 1), false)]
#[case::recreate_waits_for_the_old_pod_to_end(counting(0, 0), true)]
#[case::a_pod_of_an_older_template_is_left(counting(2, 1), true)]
#[case::no_pod_can_be_made(with(counting(0, 0), "ReplicaFailure"), false)]
#[case::it_has_failed(progressing("False", "ProgressDeadlineExceeded"), false)]
fn a_rollout_runs_until_it_ends_or_fails(#[case] status: Value, #[case] expected: bool) {
    let mut live = Upgraded::new().live;
    set_status(&mut live, &status);
    assert_eq!(Rollout::of(&live).is_rolling(time(NOW)), expected);
}

#[test]
fn a_rollout_whose_old_pod_never_ends_counts_for_ten_minutes() {
    let mut live = Upgraded::new().live;
    set_status(&mut live, &counting(0, 0));
    assert_eq!(
        [600, 601].map(|now| Rollout::of(&live).is_rolling(time(now))),
        [true, false]
    );
}

#[test]
fn a_deployment_that_is_being_deleted_does_not_hold_up_the_others() {
    let mut live = Upgraded::new().live;
    set_status(&mut live, &progressing("True", "ReplicaSetUpdated"));
    live.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time(0)));
    assert!(!Rollout::of(&live).is_rolling(time(NOW)));
}

#[test]
fn each_deployment_has_the_deadline_of_a_rollout() {
    let spec = children(&server(QUICKSTART)).deployment.spec.unwrap();
    assert_eq!(spec.progress_deadline_seconds, Some(PROGRESS_DEADLINE_SECONDS));
}

#[test]
fn objects_without_pods_do_not_raise_the_number_of_rollouts() {
    let mut rolling = Upgraded::new().live;
    set_status(&mut rolling, &progressing("True", "ReplicaSetUpdated"));
    let mut suspended = Upgraded::new().live;
    suspended.spec.as_mut().unwrap().replicas = Some(0);
    let all = std::iter::once(&rolling).chain(std::iter::repeat_n(&suspended, 19));
    assert!(!has_room(
        MaxRollouts::Percent(10),
        all.map(Rollout::of),
        time(NOW)
    ));
}

#[test]
fn a_deployment_that_somebody_paused_does_not_hold_up_the_others() {
    let mut live = Upgraded::new().live;
    set_status(&mut live, &progressing("Unknown", "DeploymentPaused"));
    assert!(Rollout::of(&live).is_rolling(time(NOW)));
    live.spec.as_mut().unwrap().paused = Some(true);
    assert!(!Rollout::of(&live).is_rolling(time(NOW)));
}

#[test]
fn a_rollout_begins_only_while_fewer_than_the_limit_run() {
    let settled = Upgraded::new().live;
    let mut rolling = settled.clone();
    set_status(&mut rolling, &progressing("True", "ReplicaSetUpdated"));
    let mut failed = settled.clone();
    set_status(&mut failed, &progressing("False", "ProgressDeadlineExceeded"));
    let room = |rollouts: usize| {
        let others = [&settled, &failed].into_iter().cycle().take(20 - rollouts);
        let all = std::iter::repeat_n(&rolling, rollouts).chain(others);
        has_room(MaxRollouts::Percent(10), all.map(Rollout::of), time(NOW))
    };
    assert_eq!([0, 1, 2, 3].map(room), [true, true, false, false]);
}

#[test]
fn an_edit_that_changes_the_pods_and_comes_while_the_object_waits_does_not_wait() {
    let mut of = Upgraded::new();
    let edited = quickstart_with(json!({"suspend": false, "server": {"env": [{"name": "A", "value": "1"}]}}));
    of.server.spec = edited.spec;
    of.server.metadata.generation = Some(2);
    assert!(!of.is_caused_by_upgrade());
}
