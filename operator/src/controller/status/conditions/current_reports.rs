//! Computes status and reason of a condition from the reports of the Pods of the current configuration.
//!
//! No part of a condition's text comes from a Pod or from an earlier text, because administrators run the commands in
//! it. Each condition computes its text from its reason and from fields of the plan.

use behalf_contract as contract;
use contract::StatusDocument;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::downstream_api::DownstreamApi;
use super::{ConditionType, ConditionValue, Status, find};
use crate::api::v1alpha1::{Internet, NetworkPolicyMode};
use crate::controller::names;
use crate::controller::pods::{PodReport, UNREACHABLE_AFTER};
use crate::controller::status::pod_identity::PodIdentity;
use crate::controller::status::status_inputs::StatusInputs;
use behalf_contract::Reason;

/// The status documents of the current Pods, and the previous conditions.
pub(in crate::controller::status) struct CurrentReports<'a> {
    pub(super) documents: Vec<&'a StatusDocument>,

    /// The error of a ready Pod whose status document could not be read several times.
    unreachable: Option<&'a str>,

    /// Whether a Pod's token names another issuer than the API server does.
    pub(super) other_issuer: bool,

    /// Whether the Deployment has no replicas.
    pub(super) suspended: bool,

    /// The previous conditions, used for facts that cannot be observed now. Empty if the previous status belongs to another Pod
    /// template.
    previous: &'a [Condition],

    /// The address and identity that the Pods run with; `None` if no Pods are known to run.
    pub(super) identity: Option<&'a PodIdentity>,

    /// The application of the accepted spec. It never comes from a child, which another writer may have edited.
    pub(super) client_id: Option<&'a str>,

    /// The number of Pods of the accepted spec.
    pub(super) replicas: Option<i32>,

    /// Whether the Pods have a proxy that their network policy may not open.
    pub(super) proxy_is_closed: bool,

    /// The API that the downstream tokens are for.
    pub(super) api: DownstreamApi,
}

impl<'a> CurrentReports<'a> {
    /// Documents count only from Pods that were created from the current template and report that they run its
    /// configuration with the planned identity.
    pub(in crate::controller::status) fn of(inputs: &'a StatusInputs<'a>) -> Self {
        let StatusInputs { found, previous, .. } = inputs;
        let template = inputs.template();
        let digest = inputs.annotation(names::SIDECAR_DIGEST_ANNOTATION);
        let is_current = |report: &&PodReport| template.is_some() && report.template.as_deref() == template;
        let has_same_template = template.is_some() && previous.observed_template.as_deref() == template;
        let identity = inputs.identity.as_ref();
        let documents: Vec<&StatusDocument> = found
            .reports
            .iter()
            .filter(is_current)
            .filter_map(|report| report.document.as_ref().ok())
            .filter(|document| Some(document.configuration_digest.as_str()) == digest)
            .filter(|document| identity.is_some_and(|identity| fits(identity, document)))
            .collect();
        let other_issuer = found.issuer.is_some()
            && documents.iter().any(|document| {
                document.federation.issuer.is_some() && document.federation.issuer != found.issuer
            });
        let unreachable = found
            .reports
            .iter()
            .filter(is_current)
            .filter(|report| report.ready && !found.most_pods_unreachable)
            .filter_map(|report| report.document.as_ref().err())
            .find(|unread| unread.failures >= UNREACHABLE_AFTER)
            .map(|unread| unread.error.as_str());
        Self {
            documents,
            unreachable,
            other_issuer,
            suspended: inputs.suspended(),
            identity,
            // If no Pods are known to run, another writer may have written the previous conditions.
            previous: if identity.is_some() && has_same_template {
                &previous.conditions
            } else {
                &[]
            },
            client_id: inputs.plan.map(|plan| plan.entra.client_id.as_str()),
            replicas: inputs.plan.map(|plan| plan.replicas),
            proxy_is_closed: inputs.plan.is_some_and(|plan| {
                plan.egress_proxy.is_some()
                    && plan.network.policy == NetworkPolicyMode::Restricted
                    && plan.network.egress.internet == Internet::Disabled
            }),
            api: DownstreamApi::of(inputs.plan.map(|plan| &plan.token_exchange)),
        }
    }

    /// Returns whether a Pod reports that it does not reach the session store.
    pub(in crate::controller::status) fn store_is_away(&self) -> bool {
        self.documents
            .iter()
            .any(|document| document.sessions.reachable == Some(false))
    }

    /// Returns False if a Pod reports a failure, else True if a Pod reports a success, else Unknown.
    pub(super) fn status_and_reason<'b>(
        &self,
        kind: ConditionType,
        success: Reason,
        results: impl Iterator<Item = PodResult<'b>>,
    ) -> StatusAndReason<'a> {
        if self.suspended {
            return StatusAndReason::new(Status::Unknown, Reason::Suspended);
        }
        let mut best: Option<PodResult<'b>> = None;
        for result in results.filter(|result| result.conclusive) {
            if best
                .as_ref()
                .is_none_or(|best| rank(result.outcome) > rank(best.outcome))
            {
                best = Some(result);
            }
        }
        if let Some(best) = best {
            let reason = Reason::parse(best.reason).unwrap_or(Reason::Unknown);
            return match best.outcome {
                contract::Outcome::Verified if reason == Reason::UserAnswered => {
                    StatusAndReason::new(Status::True, reason)
                }
                contract::Outcome::Verified => StatusAndReason::new(Status::True, success),
                contract::Outcome::Failed => StatusAndReason::new(Status::False, reason),
                contract::Outcome::Unknown => StatusAndReason::new(Status::Unknown, reason),
            };
        }
        if let Some(error) = self.unreachable {
            return StatusAndReason {
                unreachable: Some(error),
                ..StatusAndReason::new(Status::Unknown, Reason::PodUnreachable)
            };
        }
        // The previous result stays valid while a Pod starts or after it is deleted. The text is computed
        // again.
        find(self.previous, kind)
            .and_then(super::status_and_reason_of)
            .filter(|(_, reason)| !matches!(reason, Reason::Suspended | Reason::PodUnreachable))
            .map_or_else(
                || StatusAndReason::new(Status::Unknown, Reason::NotObserved),
                |(status, reason)| StatusAndReason::new(status, reason),
            )
    }
}

/// Status and reason of a condition, before its text is computed.
pub(in crate::controller::status) struct StatusAndReason<'a> {
    pub(in crate::controller::status) status: Status,
    pub(in crate::controller::status) reason: Reason,

    /// With `PodUnreachable`: why the Pod's status could not be read.
    pub(in crate::controller::status) unreachable: Option<&'a str>,
}

impl StatusAndReason<'_> {
    pub(super) fn new(status: Status, reason: Reason) -> Self {
        Self {
            status,
            reason,
            unreachable: None,
        }
    }

    /// Returns the text of a reason that every condition of a Pod may have.
    pub(super) fn common_text(&self) -> Option<String> {
        match self.reason {
            Reason::Suspended => Some("spec.suspend is true; nothing can be observed".to_owned()),
            Reason::NotObserved => Some("no Pod of the current configuration has reported yet".to_owned()),
            Reason::PodUnreachable => Some(format!(
                "the operator cannot read the Pod's status: {}; check network policies between the two",
                self.unreachable.unwrap_or("it does not answer")
            )),
            _ => None,
        }
    }

    /// Adds the text.
    pub(super) fn with_text(&self, text: String) -> ConditionValue {
        ConditionValue::new(self.status, self.reason, text)
    }
}

/// Returns whether every identity in a document equals the one that the Pods were given.
fn fits(identity: &PodIdentity, document: &StatusDocument) -> bool {
    let same = |said: &Option<String>, given: &str| said.as_deref().is_none_or(|said| said == given);
    same(&document.federation.subject, &identity.subject)
        && same(&document.federation.audience, &identity.audience)
}

/// The report of one Pod for one condition.
pub(super) struct PodResult<'b> {
    pub(super) outcome: contract::Outcome,
    pub(super) reason: &'b str,

    /// Whether the Pod has observed something. False before its first observation.
    pub(super) conclusive: bool,
}

fn rank(outcome: contract::Outcome) -> u8 {
    match outcome {
        contract::Outcome::Unknown => 0,
        contract::Outcome::Verified => 1,
        contract::Outcome::Failed => 2,
    }
}
