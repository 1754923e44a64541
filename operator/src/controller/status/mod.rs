//! Computes and writes the status of an object. Computing is pure; `write` alone sends a request.

mod command;
mod conditions;
mod facts;
mod postponed;
pub mod running;
#[cfg(test)]
mod tests;
mod undecodable;
mod write;

pub use conditions::Finding;
pub use facts::Outcome;
pub use postponed::PostponedWrites;
pub use undecodable::write_undecodable;
pub use write::{StatusError, add_failed_step, with_failed_step, write};

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::api::v1alpha1::conditions::{ConditionType, Status, find};
use crate::api::v1alpha1::{Address, KeysStatus, McpServer, McpServerStatus};
use crate::controller::children::keyring_of;
use crate::controller::dereference::dereferenced::Found;
use crate::controller::dereference::pod_reports::has_ended;
use crate::controller::key_rotation::{self, Pods};
use crate::controller::names;
use crate::controller::plan::KeyringPlan;
use crate::controller::revocations::Written;
use crate::controller::rollouts::RolloutDecision;
use behalf_contract::{Reason, endpoints};
use conditions::observed::Observed;
use conditions::set;
use conditions::{
    accepted, federation, ready, revocations_in_force, sessions_durable, tenant_matches, user_sign_in,
    verified,
};
use facts::Facts;
use running::Running;

/// Computes the whole status. The previous conditions provide the times of their transitions, and stay valid for what
/// cannot be observed at the moment.
pub fn compute(
    server: &McpServer,
    outcome: &Outcome,
    revocations: &Written,
    found: &Found,
    now: Timestamp,
) -> McpServerStatus {
    let previous = server.status.clone().unwrap_or_default();
    let generation = server.metadata.generation.unwrap_or_default();
    let facts = Facts::of(server, outcome, found);
    let template = facts.template();
    let observed = Observed::of(&facts, found, &previous, generation);
    let credential = facts.federation(found.issuer.clone());
    let command = credential
        .as_ref()
        .and_then(|credential| credential.command.as_deref());

    let refusals = match outcome {
        Outcome::Refused(refusals) => Some(refusals),
        Outcome::Applied { .. } => None,
    };
    let spec = accepted::judge(refusals);
    let pods = facts.available(found, observed.store_is_away(), now);
    let federated = federation::judge(&observed, command);
    let handshake = verified::judge(&observed);
    let signed_in = user_sign_in::judge(&observed);
    let tenant = tenant_matches::judge(&observed, facts.plan, &previous);
    let revoked = {
        let kind = ConditionType::RevocationsInForce;
        let before =
            find(&previous.conditions, kind).filter(|before| before.observed_generation == Some(generation));
        revocations_in_force::judge(revocations, facts.suspended(), found, before)
    };
    let route = facts.route(server, found);
    let durable = sessions_durable::judge(&observed, facts.plan.map(|plan| &plan.sessions.store));

    let mut status = McpServerStatus {
        observed_generation: generation,
        verified_generation: verified_before(&previous, generation, template),
        observed_template: template.map(str::to_owned),
        last_handled_reconcile_at: names::request(server, names::RECONCILE_ANNOTATION)
            .or_else(|| previous.last_handled_reconcile_at.clone()),
        replicas: facts.replicas(),
        selector: facts.selector(),
        federation: credential,
        keys: keys(server, &facts, found, &previous),
        ..McpServerStatus::default()
    };
    let mut put = |kind, finding: &Finding, at| {
        set(
            &mut status.conditions,
            &previous.conditions,
            kind,
            finding,
            at,
            now,
        );
    };
    // A condition of an older configuration has the generation of that configuration.
    let observed_at = |kind| match outcome {
        Outcome::Applied { .. } => generation,
        Outcome::Refused(_) => find(&previous.conditions, kind)
            .and_then(|condition| condition.observed_generation)
            .unwrap_or(generation),
    };
    put(ConditionType::Accepted, &spec, generation);
    for (kind, finding) in [
        (ConditionType::Available, &pods),
        (ConditionType::FederationVerified, &federated),
        (ConditionType::Verified, &handshake),
        (ConditionType::UserSignIn, &signed_in),
        (ConditionType::SessionsDurable, &durable),
    ] {
        put(kind, finding, observed_at(kind));
    }
    // The revocations are written and observed also while the rest of the spec is refused.
    put(ConditionType::RevocationsInForce, &revoked, generation);
    let seen_before = status.verified_generation == Some(generation);
    for (kind, finding) in [
        (ConditionType::RouteReady, &route),
        (ConditionType::TenantMatches, &tenant),
    ] {
        if let Some(finding) = finding {
            put(kind, finding, observed_at(kind));
        }
    }
    let mut parts = vec![
        (ConditionType::Accepted, &spec),
        (ConditionType::Available, &pods),
        (ConditionType::FederationVerified, &federated),
        (ConditionType::Verified, &handshake),
    ];
    parts.extend(route.iter().map(|route| (ConditionType::RouteReady, route)));
    let summary = ready::summarize(&parts, seen_before);
    put(ConditionType::Ready, &summary.finding, generation);
    for (kind, finding) in while_true(outcome, &pods) {
        put(kind, &finding, generation);
    }
    if summary.all_true && matches!(outcome, Outcome::Applied { .. }) {
        status.verified_generation = Some(generation);
    }
    let is_routed = route.as_ref().is_none_or(|route| route.status == Status::True);
    if handshake.status == Status::True && is_routed {
        status.address = facts.running.as_ref().map(address);
        status.server_info = verified::server_info(&observed).or_else(|| previous.server_info.clone());
    }
    status
}

/// Returns the conditions that are present only while they are true.
fn while_true(outcome: &Outcome, pods: &Finding) -> Vec<(ConditionType, Finding)> {
    let mut found = Vec::new();
    match outcome {
        Outcome::Applied { decision, .. } => {
            if *decision == RolloutDecision::Waits {
                found.push((ConditionType::UpdatePending, update_pending()));
            }
            if pods.reason == Reason::RolloutInProgress {
                let reconciling = Finding::new(Status::True, Reason::RolloutInProgress, pods.message.clone());
                found.push((ConditionType::Reconciling, reconciling));
            }
        }
        Outcome::Refused(refusals) => {
            if refusals.need_edit() {
                let stalled = Finding::new(Status::True, refusals.reason(), refusals.to_string());
                found.push((ConditionType::Stalled, stalled));
            }
        }
    }
    found
}

/// The condition of an object whose Pods wait for the rollouts of others. It is not `Reconciling`: the Pods serve the spec, and
/// tools that wait for an object must not wait for an upgrade of the whole installation.
fn update_pending() -> Finding {
    Finding::new(
        Status::True,
        Reason::RolloutWaiting,
        "the operator's release or its settings changed, and this object gets its new Pods when fewer other objects roll out; an \
         administrator of the installation sets how many do so at a time with the chart value maxRollouts",
    )
}

/// Returns the generation that was verified before. An operator of another release builds other Pods from the same spec, and
/// these were not verified yet. If the template can no longer be read, the next status has none to compare with.
///
/// An edit that changes no Pod is verified at its generation at once: the template names the digest of the configuration, so
/// the verified Pods serve the configuration of the new generation (`Observed::same_template`).
fn verified_before(previous: &McpServerStatus, generation: i64, template: Option<&str>) -> Option<i64> {
    let has_other_template = previous
        .observed_template
        .as_deref()
        .is_some_and(|before| Some(before) != template);
    previous
        .verified_generation
        .filter(|verified| *verified != generation || !has_other_template)
}

fn address(running: &Running) -> Address {
    Address {
        url: format!("{}{}", running.public_url, endpoints::MCP),
    }
}

/// Returns the keys of the keyring that this reconcile wrote or, if the object is accepted, read. The keys of a Secret that it
/// does not read are those that every Pod with this Secret reports. What cannot be observed now stays, unless it was observed
/// of another Secret, or may have been: while Pods with another one run, the spec has changed.
fn keys(
    server: &McpServer,
    facts: &Facts<'_>,
    found: &Found,
    previous: &McpServerStatus,
) -> Option<KeysStatus> {
    let before = || previous.keys.clone();
    if let Some(KeyringPlan::Given(keyring)) = facts.plan.map(|plan| &plan.keyring) {
        let pods = &found.existing.pods;
        let reported = Pods::mounting(keyring, server, pods, &found.reports).reported_keys(&keyring.name);
        let mounts = |pod: &Arc<Pod>| has_ended(pod) || keyring_of(pod).as_ref() == Some(keyring);
        let is_same = |keys: &KeysStatus| keys.secret_name.as_ref() == Some(&keyring.name);
        return reported.or_else(|| before().filter(is_same).filter(|_| pods.iter().all(mounts)));
    }
    let written = facts.children.and_then(|children| children.keyring.as_ref());
    let read = || facts.plan.and(found.keyring.as_ref());
    written
        .or_else(read)
        .and_then(key_rotation::keys_in)
        .or_else(before)
}
