//! Limits the rollouts that an upgrade of the operator or a change of its settings causes: it then builds other Pods from the
//! same specs, and only some of the objects replace their Pods at a time.
//!
//! The decision depends on the caches alone, so that another operator goes on where one stopped (`docs/adr/0048`).

mod slot;

use Progress::{Idle, Running, RunningUntil};
pub use slot::{RolloutSlot, Rollouts};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;

use super::children::{ExistingChildren, PROGRESS_DEADLINE_SECONDS};
use super::max_rollouts::MaxRollouts;
use super::names;
use super::watches::CachedKind;
use crate::api::v1alpha1::McpServer;
use crate::api::v1alpha1::conditions::{ConditionType, find};

/// Whether a reconcile may replace the object's Pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutDecision {
    /// The reconcile replaces the Pods.
    Now,

    /// The reconcile leaves the Pods as they are. A later one replaces them, after enough other rollouts have ended.
    Waits,
}

/// Returns true if `desired` would replace running Pods only because of an upgrade of the operator. False, so not limited: an
/// edit of the object; a rollout already in progress; a deleted configuration, without which Pods cannot start again; an
/// object without ready Pods or whose last rollout failed, which the upgrade may repair.
pub fn is_caused_by_upgrade(
    server: &McpServer,
    desired: &Deployment,
    existing: &ExistingChildren,
    now: Timestamp,
) -> bool {
    let Some(live) = existing.named::<Deployment>(&server.name_any()) else {
        return false;
    };
    is_own(live, server)
        && template(live) != template(desired)
        && has_pods(live)
        && is_serving(live)
        && !Rollout::of(live).is_rolling(now)
        && is_applied_generation(server)
        && configuration(live, existing).is_some()
}

/// Returns the configuration that the Pods of a Deployment run with.
pub fn configuration<'a>(live: &Deployment, existing: &'a ExistingChildren) -> Option<&'a ConfigMap> {
    existing.named(live.annotations().get(names::CONFIGURATION_ANNOTATION)?)
}

/// Returns whether another rollout may begin beside those that run. `rollouts` are those of all objects. A percentage is one of
/// the Deployments with Pods.
pub fn has_room(limit: MaxRollouts, rollouts: impl IntoIterator<Item = Rollout>, now: Timestamp) -> bool {
    let (mut objects, mut running) = (0, 0);
    for rollout in rollouts.into_iter().filter(|rollout| rollout.has_pods) {
        objects += 1;
        running += usize::from(rollout.is_rolling(now));
    }
    running < limit.of(objects)
}

/// The state of a Deployment's rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout {
    has_pods: bool,
    progress: Progress,
}

/// The progress of a Deployment's rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Kubernetes replaces the Pods.
    Running,

    /// Kubernetes replaces the Pods. After this time the rollout has failed, and counts no longer.
    RunningUntil(Timestamp),

    /// Kubernetes replaces no Pods.
    Idle,
}

impl Rollout {
    /// Reads the state of a Deployment.
    pub fn of(live: &Deployment) -> Self {
        Self {
            has_pods: has_pods(live),
            progress: progress(live),
        }
    }

    /// Returns whether Kubernetes replaces the Deployment's Pods at the moment.
    pub fn is_rolling(self, now: Timestamp) -> bool {
        match self.progress {
            Running => true,
            RunningUntil(end) => now <= end,
            Idle => false,
        }
    }
}

impl CachedKind for Deployment {
    type Summary = Rollout;

    fn summary(&self) -> Rollout {
        Rollout::of(self)
    }
}

/// Returns the progress of a Deployment's rollout. One that makes no progress for [`PROGRESS_DEADLINE_SECONDS`] has failed. It
/// counts no longer, so that it does not block the others for ever.
fn progress(live: &Deployment) -> Progress {
    let Some(spec) = &live.spec else { return Idle };
    if !has_pods(live) || spec.paused == Some(true) || live.metadata.deletion_timestamp.is_some() {
        return Idle;
    }
    let Some(status) = &live.status else {
        return Running;
    };
    if status.observed_generation < live.metadata.generation {
        return Running;
    }
    // The reasons are those of the Deployment controller (k8s.io/kubernetes, deployment/util). A Pod that crashes later changes
    // neither of the two.
    match condition(status, "Progressing") {
        Some(progress) if progress.status == "False" => Idle,
        Some(progress) if progress.reason.as_deref() == Some("NewReplicaSetAvailable") => {
            between_replica_sets(live, status)
        }
        Some(_) | None => Running,
    }
}

/// Returns whether Pods of the newest template are missing, or Pods of an older one are left. With Recreate the Deployment
/// controller makes the next `ReplicaSet` when the old Pods have ended; until then it calls the rollout before this one the
/// last, and that one is complete. It gives such a rollout no deadline. If an old Pod never ends, as on a node that is lost,
/// the rollout counts until the Deployment was unavailable for [`PROGRESS_DEADLINE_SECONDS`].
fn between_replica_sets(live: &Deployment, status: &DeploymentStatus) -> Progress {
    let updated = status.updated_replicas.unwrap_or(0);
    let cannot_make_pods =
        condition(status, "ReplicaFailure").is_some_and(|failure| failure.status == "True");
    if cannot_make_pods || updated >= replicas(live) && status.replicas.unwrap_or(0) <= updated {
        return Idle;
    }
    let unavailable = condition(status, "Available").filter(|available| available.status == "False");
    let since = unavailable.and_then(|available| available.last_transition_time.as_ref());
    let deadline = SignedDuration::from_secs(PROGRESS_DEADLINE_SECONDS.into());
    let end = since.and_then(|since| since.0.checked_add(deadline).ok());
    end.map_or(Running, RunningUntil)
}

/// Returns whether a Pod serves, and the last rollout did not fail.
fn is_serving(live: &Deployment) -> bool {
    live.status.as_ref().is_none_or(|status| {
        status.available_replicas.unwrap_or(0) > 0
            && condition(status, "Progressing").is_none_or(|progress| progress.status != "False")
    })
}

fn condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == kind)
}

fn is_own(live: &Deployment, server: &McpServer) -> bool {
    let owner = names::controller_uid(&live.metadata);
    owner.is_some() && owner == server.metadata.uid.as_deref()
}

fn template(deployment: &Deployment) -> Option<&String> {
    deployment.annotations().get(names::TEMPLATE_ANNOTATION)
}

fn has_pods(live: &Deployment) -> bool {
    replicas(live) > 0
}

fn replicas(live: &Deployment) -> i32 {
    let replicas = live.spec.as_ref().and_then(|spec| spec.replicas);
    replicas.unwrap_or(1)
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
