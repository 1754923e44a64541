//! The conditions of one status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::current_reports::CurrentReports;
use super::conditions::ready::{ReadySummary, summarize};
use super::conditions::{
    ConditionValue, accepted, federation, revocations_in_force, sessions_durable, set, tenant_matches,
    user_sign_in, verified,
};
use super::status_inputs::{ReconcileOutcome, StatusInputs};
use crate::api::v1alpha1::conditions::{ConditionType, Status, find};
use crate::controller::rollouts::RolloutDecision;
use behalf_contract::Reason;

/// The value of each condition but `Ready` and those that are present only while they are true.
pub(super) struct ConditionValues {
    accepted: ConditionValue,
    available: ConditionValue,
    federation_verified: ConditionValue,
    verified: ConditionValue,
    user_sign_in: ConditionValue,
    sessions_durable: ConditionValue,
    revocations_in_force: ConditionValue,

    /// `None` without a route.
    route_ready: Option<ConditionValue>,

    /// `None` for a server that is not of Azure DevOps.
    tenant_matches: Option<ConditionValue>,
}

impl ConditionValues {
    /// Computes the values. `command` creates the federated identity credential.
    pub(super) fn of(
        inputs: &StatusInputs<'_>,
        current: &CurrentReports<'_>,
        command: Option<&str>,
        now: Timestamp,
    ) -> Self {
        let StatusInputs { found, previous, .. } = inputs;
        let refusals = match inputs.outcome {
            ReconcileOutcome::Refused(refusals) => Some(refusals),
            ReconcileOutcome::Applied { .. } => None,
        };
        let revocations_before = find(&previous.conditions, ConditionType::RevocationsInForce)
            .filter(|before| before.observed_generation == Some(inputs.generation));
        Self {
            accepted: accepted::condition(refusals),
            available: inputs.available(current.store_is_away(), now),
            federation_verified: federation::condition(current, command),
            verified: verified::condition(current),
            user_sign_in: user_sign_in::condition(current),
            sessions_durable: sessions_durable::condition(
                current,
                inputs.plan.map(|plan| &plan.sessions.store),
            ),
            revocations_in_force: revocations_in_force::condition(
                inputs.revocations,
                inputs.suspended(),
                found,
                revocations_before,
            ),
            route_ready: inputs.route(),
            tenant_matches: tenant_matches::condition(current, inputs.plan, previous),
        }
    }

    /// Computes `Ready`. `was_verified` is true if the conditions that it depends on have all been True at this generation.
    pub(super) fn ready(&self, was_verified: bool) -> ReadySummary {
        let mut parts = vec![
            (ConditionType::Accepted, &self.accepted),
            (ConditionType::Available, &self.available),
            (ConditionType::FederationVerified, &self.federation_verified),
            (ConditionType::Verified, &self.verified),
        ];
        parts.extend(
            self.route_ready
                .iter()
                .map(|route| (ConditionType::RouteReady, route)),
        );
        summarize(&parts, was_verified)
    }

    /// Returns whether clients reach a server that lists its tools.
    pub(super) fn is_served(&self) -> bool {
        let is_routed = self
            .route_ready
            .as_ref()
            .is_none_or(|route| route.status == Status::True);
        self.verified.status == Status::True && is_routed
    }

    /// Returns the conditions, each with the time of its last transition and with the generation that it describes.
    pub(super) fn conditions(
        &self,
        inputs: &StatusInputs<'_>,
        ready: &ConditionValue,
        now: Timestamp,
    ) -> Vec<Condition> {
        let (previous, generation) = (&inputs.previous.conditions, inputs.generation);
        let mut conditions = Vec::new();
        let mut put = |kind, value: &ConditionValue, at| set(&mut conditions, previous, kind, value, at, now);
        // The reports of Pods describe the generation that the Pods run. For a refused object it is an earlier one.
        let observed_at = |kind| match inputs.outcome {
            ReconcileOutcome::Applied { .. } => generation,
            ReconcileOutcome::Refused(_) => find(previous, kind)
                .and_then(|condition| condition.observed_generation)
                .unwrap_or(generation),
        };
        let reported = |kind, value| (kind, value, observed_at(kind));
        for (kind, value, at) in [
            (ConditionType::Accepted, Some(&self.accepted), generation),
            reported(ConditionType::Available, Some(&self.available)),
            reported(ConditionType::FederationVerified, Some(&self.federation_verified)),
            reported(ConditionType::Verified, Some(&self.verified)),
            reported(ConditionType::UserSignIn, Some(&self.user_sign_in)),
            reported(ConditionType::SessionsDurable, Some(&self.sessions_durable)),
            // The revocations are written and observed also while the rest of the spec is refused.
            (
                ConditionType::RevocationsInForce,
                Some(&self.revocations_in_force),
                generation,
            ),
            reported(ConditionType::RouteReady, self.route_ready.as_ref()),
            reported(ConditionType::TenantMatches, self.tenant_matches.as_ref()),
            (ConditionType::Ready, Some(ready), generation),
        ] {
            if let Some(value) = value {
                put(kind, value, at);
            }
        }
        for (kind, value) in self.while_true(inputs.outcome) {
            put(kind, &value, generation);
        }
        conditions
    }

    /// Returns the conditions that are present only while they are true.
    fn while_true(&self, outcome: &ReconcileOutcome) -> Vec<(ConditionType, ConditionValue)> {
        let mut present = Vec::new();
        match outcome {
            ReconcileOutcome::Applied { decision, .. } => {
                if *decision == RolloutDecision::Waits {
                    present.push((ConditionType::UpdatePending, update_pending()));
                }
                if self.available.reason == Reason::RolloutInProgress {
                    let message = self.available.message.clone();
                    let value = ConditionValue::new(Status::True, Reason::RolloutInProgress, message);
                    present.push((ConditionType::Reconciling, value));
                }
            }
            ReconcileOutcome::Refused(refusals) => {
                if refusals.need_edit() {
                    let value = ConditionValue::new(Status::True, refusals.reason(), refusals.to_string());
                    present.push((ConditionType::Stalled, value));
                }
            }
        }
        present
    }
}

/// The condition of an object whose Pods wait for the rollouts of others. It is not `Reconciling`: the Pods serve the spec, and
/// tools that wait for an object must not wait for an upgrade of the whole installation.
fn update_pending() -> ConditionValue {
    ConditionValue::new(
        Status::True,
        Reason::RolloutWaiting,
        "the operator's release or its settings changed, and this object gets its new Pods when fewer other objects roll out; an \
         administrator of the installation sets how many do so at a time with the chart value maxRollouts",
    )
}
