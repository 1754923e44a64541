//! The rules for labels, annotations and the termination of the Pods.

use super::refuse;
use crate::api::v1alpha1::PodSettings;
use crate::controller::names;
use crate::controller::validate::Refusal;

/// Refuses keys that select Pods, name their configuration or call the Azure webhook.
pub(crate) fn pod(pod: &PodSettings, refusals: &mut Vec<Refusal>) {
    for (field, keys) in [("pod.labels", &pod.labels), ("pod.annotations", &pod.annotations)] {
        for key in keys.keys() {
            if names::is_reserved(key) {
                refuse(
                    refusals,
                    field,
                    format!("must not use the key {key}: it is reserved"),
                );
            }
        }
    }
    // The server waits ten seconds before it stops.
    if !(15..=3600).contains(&pod.termination_grace_period_seconds) {
        refuse(
            refusals,
            "pod.terminationGracePeriodSeconds",
            "must be between 15 and 3600",
        );
    }
}
