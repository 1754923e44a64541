//! Limits the rollouts that nobody asked for. After an upgrade the operator builds other Pods from the same specs, or after a
//! change of its settings; only some of the objects replace their Pods at a time.
//!
//! The decision depends on the caches alone, so that another operator goes on where one stopped (`docs/adr/0048`).

mod limit;
mod place;

pub use limit::{MaxRollouts, NotALimit};
pub(in crate::controller) use place::Place;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;

use super::children::ExistingChildren;
use super::names;
use crate::api::v1alpha1::McpServer;
use crate::api::v1alpha1::conditions::{ConditionType, find};

/// Whether a reconcile may replace the object's Pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It may.
    Now,

    /// The Pods stay as they are until enough other rollouts have ended.
    Waits,
}

/// Returns whether `desired` replaces running Pods although the spec has not changed since it was applied last. An edit of the
/// object never waits. Neither does an object whose Pods are being replaced already, or whose configuration was
/// deleted: its Pods could not start again.
pub fn is_unasked(server: &McpServer, desired: &Deployment, existing: &ExistingChildren) -> bool {
    let Some(live) = existing.named::<Deployment>(&server.name_any()) else {
        return false;
    };
    is_own(live, server)
        && template(live) != template(desired)
        && has_pods(live)
        && !is_rolling(live)
        && is_applied_generation(server)
        && configuration(live, existing).is_some()
}

/// Returns the configuration that the Pods of a Deployment run with.
pub fn configuration<'a>(live: &Deployment, existing: &'a ExistingChildren) -> Option<&'a ConfigMap> {
    existing.named(live.annotations().get(names::CONFIGURATION_ANNOTATION)?)
}

/// Returns whether another rollout may begin beside those that run. `deployments` are those of all objects, `objects` is the
/// number of objects.
pub fn has_room<'a>(
    limit: MaxRollouts,
    deployments: impl IntoIterator<Item = &'a Deployment>,
    objects: usize,
) -> bool {
    let running = deployments.into_iter().filter(|live| is_rolling(live)).count();
    running < limit.of(objects)
}

/// Returns whether Kubernetes replaces the Deployment's Pods at the moment. A rollout that makes no progress for ten minutes, the
/// default of `progressDeadlineSeconds`, has failed. It counts no longer, so that it does not block the others for ever.
pub fn is_rolling(live: &Deployment) -> bool {
    let Some(spec) = &live.spec else { return false };
    if !has_pods(live) || spec.paused == Some(true) {
        return false;
    }
    let Some(status) = &live.status else { return true };
    if status.observed_generation < live.metadata.generation {
        return true;
    }
    let progress = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Progressing");
    // The reasons are those of the Deployment controller (k8s.io/kubernetes, deployment/util). A Pod that stops later changes
    // neither of the two.
    progress.is_none_or(|progress| {
        progress.status != "False" && progress.reason.as_deref() != Some("NewReplicaSetAvailable")
    })
}

fn is_own(live: &Deployment, server: &McpServer) -> bool {
    let owner = names::controller_uid(&live.metadata);
    owner.is_some() && owner == server.metadata.uid.as_deref()
}

fn template(deployment: &Deployment) -> Option<&String> {
    deployment.annotations().get(names::TEMPLATE_ANNOTATION)
}

fn has_pods(live: &Deployment) -> bool {
    let replicas = live.spec.as_ref().and_then(|spec| spec.replicas);
    replicas.unwrap_or(1) > 0
}

/// Returns whether the Deployment was built from the spec as it is now. `Available` keeps the generation of the last spec that was
/// applied, also while a newer one is refused.
fn is_applied_generation(server: &McpServer) -> bool {
    let conditions = server.status.as_ref().map(|status| &status.conditions[..]);
    let available = find(conditions.unwrap_or_default(), ConditionType::Available);
    let applied = available.and_then(|available| available.observed_generation);
    applied.is_some() && applied == server.metadata.generation
}

#[cfg(test)]
mod tests;
