//! Tests which objects wait for the rollouts of others.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::testing::{QUICKSTART, children, quickstart_with, server};

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

    fn is_unasked(&self) -> bool {
        let existing = ExistingChildren {
            deployments: vec![Arc::new(self.live.clone())],
            config_maps: self.configurations.clone(),
            ..ExistingChildren::default()
        };
        is_unasked(&self.server, &children(&self.server).deployment, &existing)
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
    json!({"observedGeneration": 2, "replicas": 1, "conditions": [
        {"type": "Progressing", "status": status, "reason": reason},
        {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"},
    ]})
}

#[test]
fn new_pods_of_an_unchanged_spec_are_unasked() {
    assert!(Upgraded::new().is_unasked());
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
#[case::its_configuration_was_deleted(|of: &mut Upgraded| of.configurations.clear())]
fn an_object_does_not_wait_when(#[case] change: fn(&mut Upgraded)) {
    let mut of = Upgraded::new();
    change(&mut of);
    assert!(!of.is_unasked());
}

#[rstest]
#[case::the_controller_has_not_seen_it(json!({"observedGeneration": 1}), true)]
#[case::it_has_no_status(json!({}), true)]
#[case::a_pod_was_made(progressing("True", "ReplicaSetUpdated"), true)]
#[case::it_has_ended_and_a_pod_crashes_now(progressing("True", "NewReplicaSetAvailable"), false)]
#[case::it_has_failed(progressing("False", "ProgressDeadlineExceeded"), false)]
fn a_rollout_runs_until_it_ends_or_fails(#[case] status: Value, #[case] expected: bool) {
    let mut live = Upgraded::new().live;
    set_status(&mut live, &status);
    assert_eq!(is_rolling(&live), expected);
}

#[test]
fn a_deployment_that_somebody_paused_does_not_hold_up_the_others() {
    let mut live = Upgraded::new().live;
    set_status(&mut live, &progressing("Unknown", "DeploymentPaused"));
    assert!(is_rolling(&live));
    live.spec.as_mut().unwrap().paused = Some(true);
    assert!(!is_rolling(&live));
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
        has_room(MaxRollouts::Percent(10), all, 20)
    };
    assert_eq!([0, 1, 2, 3].map(room), [true, true, false, false]);
}

#[test]
fn an_edit_that_changes_the_pods_and_comes_while_the_object_waits_does_not_wait() {
    let mut of = Upgraded::new();
    let edited = quickstart_with(json!({"suspend": false, "server": {"env": [{"name": "A", "value": "1"}]}}));
    of.server.spec = edited.spec;
    of.server.metadata.generation = Some(2);
    assert!(!of.is_unasked());
}
