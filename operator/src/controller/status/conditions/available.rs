//! Computes the condition that reports whether enough Pods are available.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

use super::{ConditionValue, Status};
use crate::controller::names;
use crate::controller::pods::has_ended;
use crate::controller::status::status_inputs::StatusInputs;
use behalf_contract::Reason;

/// Time after the start of a container from which a failing readiness probe counts as a fault, not as a
/// start.
const READINESS_GRACE: SignedDuration = SignedDuration::from_secs(15);

/// Time after the kubelet has accepted a Pod from which missing volumes count as a fault. Mounting takes seconds.
const MOUNT_GRACE: SignedDuration = SignedDuration::from_secs(30);

/// The inputs of the condition that neither the Deployment nor its Pods contain.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// The current time.
    now: Timestamp,

    /// Whether a Pod reports that it does not reach the session store.
    store_is_away: bool,
}

impl StatusInputs<'_> {
    /// Computes `Available`. `store_is_away` is true if a Pod does not reach the session store.
    pub(in crate::controller::status) fn available(
        &self,
        store_is_away: bool,
        now: Timestamp,
    ) -> ConditionValue {
        match self.deployment {
            Some(deployment) => {
                let template = self.template();
                let moment = Moment { now, store_is_away };
                condition(deployment, &self.found.existing.pods, template, moment)
            }
            None => ConditionValue::new(
                Status::False,
                Reason::NotDeployed,
                "no Pods are running: this object was never accepted; see the condition Accepted",
            ),
        }
    }
}

/// Computes the condition: whether enough Pods serve the Deployment's current template, and if not, why.
fn condition(
    deployment: &Deployment,
    pods: &[Arc<Pod>],
    template: Option<&str>,
    moment: Moment,
) -> ConditionValue {
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    if wanted == 0 {
        return ConditionValue::new(
            Status::False,
            Reason::Suspended,
            "spec.suspend is true, so no Pods are running; set it to false to start them",
        );
    }
    let status = deployment.status.clone().unwrap_or_default();
    let current = status.observed_generation == deployment.metadata.generation;
    let count = |number: Option<i32>| number.unwrap_or(0);
    let (updated, available) = (count(status.updated_replicas), count(status.available_replicas));
    if current && updated >= wanted && available >= wanted && count(status.replicas) == updated {
        return ConditionValue::new(
            Status::True,
            Reason::PodsServing,
            "enough Pods serve the current configuration",
        );
    }
    if current && let Some(message) = refused(&status) {
        return ConditionValue::new(
            Status::False,
            Reason::PodsRefused,
            format!(
                "no Pod can be created: {message}; an administrator of the namespace must change its quota or policy"
            ),
        );
    }
    let of_this_template = |pod: &&Arc<Pod>| {
        pod.metadata.deletion_timestamp.is_none()
            && pod
                .annotations()
                .get(names::TEMPLATE_ANNOTATION)
                .map(String::as_str)
                == template
    };
    let (ended, live): (Vec<_>, Vec<_>) = pods
        .iter()
        .filter(of_this_template)
        .partition(|pod| has_ended(pod));
    live.iter()
        .find_map(|pod| trouble(pod, moment))
        .unwrap_or_else(|| without_trouble(&ended, !live.is_empty()))
}

/// Returns the condition if no live Pod has a trouble. An ended Pod stays until somebody deletes it, so that it explains only why
/// others start, and decides only where there are no others.
fn without_trouble(ended: &[&Arc<Pod>], is_starting: bool) -> ConditionValue {
    let waiting = "waiting for Pods of the current configuration to become ready";
    let last = ended.iter().max_by_key(|pod| (ended_at(pod), pod.name_any()));
    let (reason, message) = match last.map(|pod| words_of_end(pod)) {
        None => (Reason::RolloutInProgress, waiting.to_owned()),
        Some(words) if is_starting => (
            Reason::RolloutInProgress,
            format!("{waiting}; an earlier one {words}"),
        ),
        Some(words) => (
            Reason::PodFailed,
            format!(
                "no Pod runs: the last one {words}; the Deployment makes another one by itself, which ends in the same way until the \
                 cause in these words is corrected"
            ),
        ),
    };
    ConditionValue::new(Status::False, reason, message)
}

/// Returns when and why a Pod ended, in the words of the kubelet that evicted or refused it.
fn words_of_end(pod: &Pod) -> String {
    let at = ended_at(pod).map_or_else(String::new, |time| format!(" at {time}"));
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    // After an eviction for the sake of the node it has the reason and the words, too.
    let disrupted = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    let reason = status.and_then(|status| status.reason.as_deref());
    let reason = reason.or_else(|| disrupted?.reason.as_deref());
    let words = status.and_then(|status| status.message.as_deref());
    let words = words.or_else(|| disrupted?.message.as_deref()).map(str::trim);
    let phase = status.and_then(|status| status.phase.as_deref());
    // The kubelet's `generateAPIPodStatus` keeps reason and words of an eviction only if a container ended with an error. Nothing
    // but the kubelet ends the containers of a Deployment's Pod for good.
    if reason.is_none() && phase == Some("Succeeded") {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        return format!(
            "ended{at}: the kubelet ended it, for example because a directory was full, and kept no reason, because its containers \
             ended without an error; an event has its words: kubectl get events --namespace {namespace} --field-selector \
             involvedObject.name={name},type=Warning"
        );
    }
    let words = words.map_or_else(String::new, |words| format!(", {words:?}"));
    format!("ended{at}: {}{words}", reason.or(phase).unwrap_or("Failed"))
}

/// Returns the time of a Pod's last change. A Pod that the kubelet refused has no conditions.
fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref();
    let conditions = status
        .into_iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let changed = conditions.filter_map(|condition| condition.last_transition_time.as_ref());
    let first = || {
        let started = status.and_then(|status| status.start_time.as_ref());
        started.or(pod.metadata.creation_timestamp.as_ref())
    };
    changed
        .map(|time| time.0)
        .max()
        .or_else(|| first().map(|time| time.0))
}

fn refused(status: &DeploymentStatus) -> Option<&str> {
    let condition = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    condition.message.as_deref().or(condition.reason.as_deref())
}

/// Returns the reason why a Pod is not ready, unless it only needs more time.
fn trouble(pod: &Pod, moment: Moment) -> Option<ConditionValue> {
    let Moment { now, store_is_away } = moment;
    let status = pod.status.as_ref()?;
    let conditions = || status.conditions.iter().flatten();
    if let Some(condition) = conditions().find(|condition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
    }) {
        let message = condition.message.as_deref().unwrap_or("no node fits");
        return Some(ConditionValue::new(
            Status::False,
            Reason::Unschedulable,
            format!("no node takes the Pod: {message}; change spec.pod or the resources, or add a node"),
        ));
    }
    if let Some(value) = without_volumes(pod, now) {
        return Some(value);
    }
    let containers = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten());
    if let Some(value) = containers.clone().find_map(waiting) {
        return Some(value);
    }
    // All containers run, so a probe has not succeeded yet. The first one takes a moment.
    let running = containers.clone().count() >= 2
        && containers.clone().all(|container| {
            container.started == Some(true)
                && container
                    .state
                    .as_ref()
                    .and_then(|state| state.running.as_ref())
                    .is_some_and(|running| {
                        running
                            .started_at
                            .as_ref()
                            .is_none_or(|started| now.duration_since(started.0) > READINESS_GRACE)
                    })
        });
    let silent: Vec<&str> = containers
        .filter(|container| !container.ready)
        .map(|container| container.name.as_str())
        .collect();
    let ready = conditions().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if !running || ready {
        return None;
    }
    if store_is_away && silent == [names::SIDECAR_CONTAINER] {
        return Some(ConditionValue::new(
            Status::False,
            Reason::StoreUnreachable,
            "the Pods run but do not reach the Redis of spec.sessions.store, so they take no requests; check that it runs, its \
             address, certificate, user and password, and that no network policy is in the way; clients get 503 meanwhile, and no \
             session ends",
        ));
    }
    Some(ConditionValue::new(
        Status::False,
        Reason::PodsNotReady,
        format!(
            "the Pod runs but is not ready: container {} fails its readiness probe; read its log",
            silent.join(" and ")
        ),
    ))
}

/// Returns the condition for a Pod that waits for its volumes. The kubelet tells only in its events what is missing.
fn without_volumes(pod: &Pod, now: Timestamp) -> Option<ConditionValue> {
    let status = pod.status.as_ref()?;
    let accepted_at = status.start_time.as_ref()?.0;
    let waits = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "PodReadyToStartContainers" && condition.status == "False");
    if !waits || now.duration_since(accepted_at) <= MOUNT_GRACE {
        return None;
    }
    let volumes = pod.spec.as_ref()?.volumes.iter().flatten();
    let needed: Vec<String> = volumes
        .filter_map(|volume| {
            let secret = volume
                .secret
                .as_ref()
                .and_then(|secret| secret.secret_name.as_ref());
            let config_map = volume.config_map.as_ref().map(|config_map| &config_map.name);
            let secret = secret.map(|name| format!("Secret {name}"));
            secret.or_else(|| config_map.map(|name| format!("ConfigMap {name}")))
        })
        .collect();
    Some(ConditionValue::new(
        Status::False,
        Reason::VolumesUnavailable,
        format!(
            "the Pod waits for its volumes: make sure that these exist and contain the keys that the spec names: {}; kubectl \
             describe pod shows what the kubelet misses",
            needed.join(", ")
        ),
    ))
}

fn waiting(container: &ContainerStatus) -> Option<ConditionValue> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let name = &container.name;
    let detail = waiting.message.as_deref().unwrap_or_default();
    let value = |reason, message| Some(ConditionValue::new(Status::False, reason, message));
    match waiting.reason.as_deref()? {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => value(
            Reason::ImagePullFailed,
            // The kubelet alternates between two reasons and texts, so the message names only the image.
            format!(
                "the image {} of container {name} cannot be pulled; check its name and spec.pod.imagePullSecrets",
                container.image
            ),
        ),
        "CrashLoopBackOff" => {
            let end = container
                .last_state
                .as_ref()
                .and_then(|state| state.terminated.as_ref());
            let how = end.map_or_else(String::new, |end| {
                let why = end.reason.as_deref().unwrap_or("Error");
                format!(" ({why}, exit code {})", end.exit_code)
            });
            value(
                Reason::ContainerCrashing,
                format!(
                    "container {name} ends again and again{how}; read its log with kubectl logs --previous"
                ),
            )
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => value(
            Reason::ContainerMisconfigured,
            format!(
                "container {name} cannot be created: {detail}; if it names a missing ConfigMap or key, create it, else see kubectl \
                 describe pod"
            ),
        ),
        _ => None,
    }
}
