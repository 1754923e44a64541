//! Tests the status that is computed for an object.

mod gitops;
mod keys;
mod pods;
mod ready;
mod refused;
mod revocations;
mod route;
mod sessions;
mod tenant;
mod texts;
mod user_sign_in;

use std::sync::Arc;

use behalf_contract as contract;
use behalf_contract::EgressProxy;
use contract::{SignInReport, StatusDocument};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::api::v1alpha1::FederationStatus;
use crate::api::v1alpha1::conditions::{ConditionType, Status, find};
use crate::controller::children::{Children, HttpRoute, keyring_of};
use crate::controller::names;
use crate::controller::plan::Plan;
use crate::controller::pods::UNREACHABLE_AFTER;
use crate::controller::pods::{PodReport, Unread};
use crate::controller::rollouts::RolloutDecision;
use crate::controller::validate::{Refusal, Refusals};
use crate::testing::{
    ISSUER, NO_REVOCATIONS, QUICKSTART, children, document, plan, quickstart_with, redis, server, time,
};

/// One object in a cluster in which everything works. Each test changes one thing.
struct World {
    server: McpServer,
    deployment: Value,
    pods: Vec<Value>,
    reports: Vec<PodReport>,
    issuer: Option<String>,
    refusals: Option<Refusals>,
    revocations: RevocationsOutcome,
    configurations: Vec<Arc<ConfigMap>>,

    /// The template annotation of the Deployment, if it differs from the built one.
    template: Option<String>,
    most_pods_unreachable: bool,
    now: i64,

    /// Whether the object waits for the rollouts of others.
    decision: RolloutDecision,

    egress_proxy: Option<EgressProxy>,

    /// The route as the API server returns it, if it differs from the built one.
    route: Option<HttpRoute>,
}

impl World {
    fn new() -> Self {
        Self::of(server(QUICKSTART))
    }

    fn of(server: McpServer) -> Self {
        let built = children(&server);
        let template = built.deployment.annotations()[names::TEMPLATE_ANNOTATION].clone();
        let digest = built.deployment.annotations()[names::SIDECAR_DIGEST_ANNOTATION].clone();
        let spec = built.deployment.spec.as_ref().unwrap().template.spec.clone();
        let report = PodReport {
            template: Some(template.clone()),
            keyring: keyring_of(&Pod {
                spec: spec.clone(),
                ..Pod::default()
            }),
            ready: true,
            document: Ok(document(&digest)),
        };
        let mut pod = pod(&template);
        pod["spec"] = json!(spec);
        Self {
            server,
            deployment: json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}),
            pods: vec![pod],
            reports: vec![report],
            issuer: Some(ISSUER.to_owned()),
            refusals: None,
            revocations: RevocationsOutcome::Declared {
                digest: NO_REVOCATIONS.to_owned(),
            },
            configurations: vec![Arc::new(built.config_map)],
            template: None,
            most_pods_unreachable: false,
            now: 100,
            decision: RolloutDecision::Now,
            egress_proxy: None,
            route: None,
        }
    }

    fn document(&mut self) -> &mut StatusDocument {
        self.reports[0].document.as_mut().unwrap()
    }

    /// Computes the status of a reconcile. The object has this status in the next one.
    fn reconcile(&mut self) -> McpServerStatus {
        let mut deployment: Deployment = children(&self.server).deployment;
        deployment.metadata.generation = Some(1);
        if let Some(template) = &self.template {
            let annotations = deployment.metadata.annotations.get_or_insert_default();
            annotations.insert(names::TEMPLATE_ANNOTATION.to_owned(), template.clone());
        }
        deployment.status = Some(serde_json::from_value(self.deployment.clone()).unwrap());
        let pods: Vec<Arc<Pod>> = self
            .pods
            .iter()
            .map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap()))
            .collect();
        let mut found = ClusterState {
            reports: self.reports.clone(),
            issuer: self.issuer.clone(),
            most_pods_unreachable: self.most_pods_unreachable,
            ..ClusterState::default()
        };
        found.existing.pods = pods;
        found.existing.children.config_maps = self.configurations.clone();
        let outcome = match &self.refusals {
            Some(refusals) => {
                found.existing.children.deployments = vec![Arc::new(deployment)];
                found.existing.children.http_routes = self.route.iter().cloned().map(Arc::new).collect();
                ReconcileOutcome::Refused(refusals.clone())
            }
            None => ReconcileOutcome::Applied {
                decision: self.decision,
                plan: Box::new(Plan {
                    egress_proxy: self.egress_proxy.clone(),
                    ..plan(&self.server)
                }),
                children: Box::new(
                    Children {
                        deployment,
                        http_route: self.route.clone().or(children(&self.server).http_route),
                        ..children(&self.server)
                    }
                    .applied(),
                ),
            },
        };
        let status = compute(&self.server, &outcome, &self.revocations, &found, time(self.now));
        self.now += 10;
        self.server.status = Some(status.clone());
        status
    }
}

fn pod(template: &str) -> Value {
    let container = |name: &str| {
        json!({
            "name": name, "image": "i", "imageID": "", "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {}},
        })
    };
    json!({
        "metadata": {"name": "azure-devops-1", "annotations": {(names::TEMPLATE_ANNOTATION): template}},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "initContainerStatuses": [container("auth-sidecar")],
            "containerStatuses": [container("mcp-server")],
        },
    })
}

/// Changes the status of a Pod to that which the kubelet leaves when a directory exceeds its limit.
fn evict(pod: &mut Value) {
    pod["status"] = json!({
        "phase": "Failed",
        "reason": "Evicted",
        "message": "Usage of EmptyDir volume \"writable-0\" exceeds the limit \"16Mi\". ",
        "startTime": time(10).to_string(),
        "conditions": [
            {"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": time(60).to_string()},
            {"type": "Ready", "status": "False", "reason": "PodFailed", "lastTransitionTime": time(50).to_string()},
        ],
    });
}

fn sign_in(outcome: contract::Outcome, reason: &str, seconds: Option<i64>) -> SignInReport {
    SignInReport {
        outcome,
        reason: reason.to_owned(),
        message: "Something was seen.".to_owned(),
        correlation_id: None,
        observed_at: seconds.map(time),
    }
}

fn fail_federation(world: &mut World, reason: &str, message: &str) {
    let report = &mut world.document().federation;
    report.outcome = contract::Outcome::Failed;
    report.reason = reason.to_owned();
    report.message = message.to_owned();
}

fn condition(status: &McpServerStatus, kind: ConditionType) -> &Condition {
    find(&status.conditions, kind).unwrap_or_else(|| panic!("no condition {}", kind.as_str()))
}

/// Status and reason of a condition.
fn status_and_reason(status: &McpServerStatus, kind: ConditionType) -> (String, String) {
    let condition = condition(status, kind);
    (condition.status.clone(), condition.reason.clone())
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

/// The types of the conditions that differ.
fn changed(before: &McpServerStatus, after: &McpServerStatus) -> Vec<&'static str> {
    ConditionType::ALL
        .iter()
        .filter(|&&kind| find(&before.conditions, kind) != find(&after.conditions, kind))
        .map(|kind| kind.as_str())
        .collect()
}

/// Faults that each break exactly one condition, with the reason of that condition.
type Break = fn(&mut World);

#[test]
fn the_status_has_an_address_exactly_while_the_handshake_is_verified() {
    let mut world = World::new();
    assert!(world.reconcile().address.is_some());
    world.document().handshake.outcome = contract::Outcome::Failed;
    let status = world.reconcile();
    assert_eq!((status.address, status.server_info), (None, None));
}

#[test]
fn the_time_of_a_transition_is_kept_while_the_status_stays() {
    let mut world = World::new();
    let first = condition(&world.reconcile(), ConditionType::Ready)
        .last_transition_time
        .clone();
    assert_eq!(first.0, time(100));
    assert_eq!(
        condition(&world.reconcile(), ConditionType::Ready).last_transition_time,
        first
    );
    world.document().handshake.outcome = contract::Outcome::Failed;
    assert_eq!(
        condition(&world.reconcile(), ConditionType::Ready)
            .last_transition_time
            .0,
        time(120)
    );
}

#[test]
fn a_requested_reconcile_is_reported_when_it_has_ended() {
    let request = |world: &mut World, text: &str| {
        let annotation = (names::RECONCILE_ANNOTATION.to_owned(), text.to_owned());
        world.server.metadata.annotations = Some([annotation].into());
    };
    let mut world = World::new();
    assert_eq!(world.reconcile().last_handled_reconcile_at, None);
    request(&mut world, "first");
    let failed = with_failed_step(&world.server, "failed to apply Deployment a", time(200));
    assert_eq!(failed.last_handled_reconcile_at, None);
    let handled = world.reconcile();
    assert_eq!(handled.last_handled_reconcile_at.as_deref(), Some("first"));
    world.server.metadata.annotations = None;
    assert_eq!(world.reconcile(), handled, "the end of a request writes nothing");
    request(&mut world, &"ü".repeat(500));
    let cut = world.reconcile().last_handled_reconcile_at.unwrap();
    assert_eq!(cut.chars().count(), 128);
    world.refusals = Some(Refusals::one(Refusal::PublicUrlTaken {
        namespace: "mcp".to_owned(),
        name: "older".to_owned(),
    }));
    request(&mut world, "while refused");
    let refused = world.reconcile().last_handled_reconcile_at;
    assert_eq!(refused.as_deref(), Some("while refused"));
}

#[test]
fn a_failed_step_is_in_the_status_and_observes_no_generation() {
    let mut world = World::new();
    world.reconcile();
    world.server.metadata.generation = Some(2);
    let status = with_failed_step(
        &world.server,
        "failed to apply Deployment a: forbidden",
        time(200),
    );
    assert_eq!(
        status_and_reason(&status, ConditionType::Reconciling),
        pair("True", "StepFailed")
    );
    assert!(
        condition(&status, ConditionType::Reconciling)
            .message
            .contains("forbidden")
    );
    assert_eq!(status.observed_generation, 1);
    assert_eq!(status_and_reason(&status, ConditionType::Ready).0, "True");
    let after = world.reconcile();
    assert!(find(&after.conditions, ConditionType::Reconciling).is_none());
}
