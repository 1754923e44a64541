//! Builds the `PodDisruptionBudget` of the Pods.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Applied, ChildKind, Children, Existing, metadata};
use crate::controller::names;
use crate::controller::plan::Plan;

impl ChildKind for PodDisruptionBudget {
    const KIND: &'static str = "PodDisruptionBudget";

    /// True with fewer than two Pods.
    fn is_unused(&self, children: &Children<Applied>, _: &Existing) -> bool {
        children.pod_disruption_budget.is_none()
    }
}

/// Builds a budget that lets drains of nodes evict one Pod at a time. One Pod alone gets none: a budget would block the drain
/// for ever, or allow what happens without it.
pub(super) fn build(plan: &Plan) -> Option<PodDisruptionBudget> {
    (plan.replicas >= 2).then(|| PodDisruptionBudget {
        metadata: metadata(plan, plan.object.name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(&plan.object.name)),
                ..LabelSelector::default()
            }),
            // A Pod that is not ready serves nobody, and must not block a drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
