//! How the Pods of one object are spread over zones and nodes.

use behalf_contract::StoreConfig;
use k8s_openapi::api::core::v1::{
    Affinity, PodAffinityTerm, PodAntiAffinity, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::controller::names;
use crate::controller::plan::Plan;

/// The label that tells the Pods of one template from those of another. Without it, the Pods that an update replaces
/// would count, and the new ones would end up unevenly spread.
const TEMPLATE_LABEL: &str = "pod-template-hash";

/// The node label over whose values Pods are spread by default.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The label with the name of a node.
const NODE: &str = "kubernetes.io/hostname";

/// The highest weight of a preference.
const MAX_WEIGHT: i32 = 100;

/// Returns the constraints of the spec, or the default ones. With sessions in memory there is one Pod and nothing to spread.
pub(super) fn build(plan: &Plan) -> Option<Vec<TopologySpreadConstraint>> {
    let given = &plan.pod.topology_spread_constraints;
    if !given.is_empty() {
        return Some(
            given
                .iter()
                .map(|constraint| complete(plan, constraint))
                .collect(),
        );
    }
    match plan.sessions.store {
        StoreConfig::Memory => None,
        StoreConfig::Redis(_) => Some(vec![over(plan, ZONE)]),
    }
}

/// Returns the affinity of the spec. Unless the spec says how Pods are spread, they also prefer different nodes.
///
/// This is no spread constraint: for the preferences of all of them the scheduler ignores a node that lacks the label of one, and
/// the nodes of many clusters have no zone. See `requireAllTopologies` of kube-scheduler's `podtopologyspread`.
pub(super) fn affinity(plan: &Plan) -> Option<Affinity> {
    let given = plan.pod.affinity.clone();
    let is_spread = !plan.pod.topology_spread_constraints.is_empty()
        || given
            .as_ref()
            .is_some_and(|given| given.pod_anti_affinity.is_some());
    if is_spread || matches!(plan.sessions.store, StoreConfig::Memory) {
        return given;
    }
    let preferred = WeightedPodAffinityTerm {
        weight: MAX_WEIGHT,
        pod_affinity_term: PodAffinityTerm {
            label_selector: Some(of_this_object(plan)),
            match_label_keys: Some(vec![TEMPLATE_LABEL.to_owned()]),
            topology_key: NODE.to_owned(),
            ..PodAffinityTerm::default()
        },
    };
    Some(Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![preferred]),
            ..PodAntiAffinity::default()
        }),
        ..given.unwrap_or_default()
    })
}

fn of_this_object(plan: &Plan) -> LabelSelector {
    LabelSelector {
        match_labels: Some(names::selector(&plan.object.name)),
        ..LabelSelector::default()
    }
}

/// A constraint that the scheduler prefers to fulfil: a Pod on the wrong node is better than no Pod.
fn over(plan: &Plan, domain: &str) -> TopologySpreadConstraint {
    complete(
        plan,
        &TopologySpreadConstraint {
            max_skew: 1,
            topology_key: domain.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            ..TopologySpreadConstraint::default()
        },
    )
}

/// A constraint without a selector would count no Pod. It counts the Pods of this object and template.
fn complete(plan: &Plan, constraint: &TopologySpreadConstraint) -> TopologySpreadConstraint {
    let mut constraint = constraint.clone();
    if constraint.label_selector.is_none() {
        constraint.label_selector = Some(of_this_object(plan));
        constraint
            .match_label_keys
            .get_or_insert_with(|| vec![TEMPLATE_LABEL.to_owned()]);
    }
    constraint
}
