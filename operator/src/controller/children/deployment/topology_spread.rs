//! How the Pods of one object are spread over zones and nodes.

use behalf_contract::StoreConfig;
use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::controller::names;
use crate::controller::plan::Plan;

/// The label that tells the Pods of one template from those of another. Without it, the Pods that an update replaces
/// would count, and the new ones would end up unevenly spread.
const TEMPLATE_LABEL: &str = "pod-template-hash";

/// The node labels over whose values Pods are spread by default.
const DOMAINS: [&str; 2] = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"];

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
        StoreConfig::Redis(_) => Some(DOMAINS.map(|domain| over(plan, domain)).to_vec()),
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
        constraint.label_selector = Some(LabelSelector {
            match_labels: Some(names::selector(&plan.object.name)),
            ..LabelSelector::default()
        });
        constraint
            .match_label_keys
            .get_or_insert_with(|| vec![TEMPLATE_LABEL.to_owned()]);
    }
    constraint
}
