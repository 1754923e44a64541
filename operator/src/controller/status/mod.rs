//! Computes and writes the status of an object. Computing is pure; `write` alone sends a request.

mod command;
mod condition_values;
mod conditions;
pub mod pod_identity;
mod postponed;
mod status_inputs;
#[cfg(test)]
mod tests;
mod undecodable;
mod write;

pub use postponed::PostponedWrites;
pub use undecodable::write_undecodable;
pub use write::{StatusError, add_failed_step, with_failed_step, write};

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::api::v1alpha1::{Address, KeysStatus, McpServer, McpServerStatus};
use crate::controller::children::keyring_of;
use crate::controller::dereference::cluster_state::ClusterState;
use crate::controller::key_rotation::{self, Pods};
use crate::controller::names;
use crate::controller::plan::KeyringPlan;
use crate::controller::pods::has_ended;
use crate::controller::revocations_outcome::RevocationsOutcome;
use behalf_contract::endpoints;
use condition_values::ConditionValues;
use conditions::current_reports::CurrentReports;
use conditions::verified;
use pod_identity::PodIdentity;
pub use status_inputs::ReconcileOutcome;
use status_inputs::StatusInputs;

/// Computes the whole status. The previous conditions provide the times of their transitions, and stay valid for what
/// cannot be observed at the moment.
pub fn compute(
    server: &McpServer,
    outcome: &ReconcileOutcome,
    revocations: &RevocationsOutcome,
    found: &ClusterState,
    now: Timestamp,
) -> McpServerStatus {
    let previous = server.status.clone().unwrap_or_default();
    let inputs = StatusInputs::of(server, outcome, revocations, found, &previous);
    let generation = inputs.generation;
    let template = inputs.template();
    let current = CurrentReports::of(&inputs);
    let federation = inputs.federation(found.issuer.clone());
    let command = federation
        .as_ref()
        .and_then(|federation| federation.command.as_deref());
    let values = ConditionValues::of(&inputs, &current, command, now);

    let verified_before = verified_before(&previous, generation, template);
    let ready = values.ready(verified_before == Some(generation));
    let is_verified = ready.all_true && matches!(outcome, ReconcileOutcome::Applied { .. });
    let (address, server_info) = if values.is_served() {
        let info = verified::server_info(&current).or_else(|| previous.server_info.clone());
        (inputs.identity.as_ref().map(address), info)
    } else {
        (None, None)
    };
    McpServerStatus {
        observed_generation: generation,
        verified_generation: if is_verified {
            Some(generation)
        } else {
            verified_before
        },
        observed_template: template.map(str::to_owned),
        last_handled_reconcile_at: names::request(server, names::RECONCILE_ANNOTATION)
            .or_else(|| previous.last_handled_reconcile_at.clone()),
        replicas: inputs.replicas(),
        selector: inputs.selector(),
        keys: keys(&inputs),
        conditions: values.conditions(&inputs, &ready.value, now),
        federation,
        address,
        server_info,
    }
}

/// Returns the generation that the previous status marks as verified. It does not count when the Pod template has changed
/// without the spec: a new operator release builds other Pods, which are not verified yet.
///
/// An edit that changes no Pod is verified at its generation at once: the template names the digest of the configuration, so
/// the verified Pods serve the configuration of the new generation (`CurrentReports::previous`).
fn verified_before(previous: &McpServerStatus, generation: i64, template: Option<&str>) -> Option<i64> {
    let has_other_template = previous
        .observed_template
        .as_deref()
        .is_some_and(|before| Some(before) != template);
    previous
        .verified_generation
        .filter(|verified| *verified != generation || !has_other_template)
}

fn address(identity: &PodIdentity) -> Address {
    Address {
        url: format!("{}{}", identity.public_url, endpoints::MCP),
    }
}

/// Returns the keys for the status: those just written or read; for a Secret of the user, those that every Pod with it reports;
/// else the previous ones, if all Pods mount the same Secret.
fn keys(inputs: &StatusInputs<'_>) -> Option<KeysStatus> {
    let StatusInputs { found, previous, .. } = inputs;
    let before = || previous.keys.clone();
    if let Some(KeyringPlan::Given(keyring)) = inputs.plan.map(|plan| &plan.keyring) {
        let pods = &found.existing.pods;
        let reported =
            Pods::mounting(keyring, inputs.server, pods, &found.reports).reported_keys(&keyring.name);
        let mounts = |pod: &Arc<Pod>| has_ended(pod) || keyring_of(pod).as_ref() == Some(keyring);
        let is_same = |keys: &KeysStatus| keys.secret_name.as_ref() == Some(&keyring.name);
        return reported.or_else(|| before().filter(is_same).filter(|_| pods.iter().all(mounts)));
    }
    let written = inputs.children.and_then(|children| children.keyring.as_ref());
    let read = || inputs.plan.and(found.keyring.as_ref());
    written
        .or_else(read)
        .and_then(key_rotation::keys_in)
        .or_else(before)
}
