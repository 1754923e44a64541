//! The rules for labels, annotations and the termination of the Pods.

use super::refuse;
use crate::api::v1alpha1::PodSettings;
use crate::controller::validate::Refusal;

/// Prefixes of the keys that an object must not set. The last one is the old form of a container's AppArmor profile, which the
/// API server copies into the container.
const RESERVED: [&str; 4] = [
    "azure.workload.identity",
    "behalf.dev",
    "app.kubernetes.io",
    "container.apparmor.security.beta.kubernetes.io",
];

/// Returns whether the key of a label or an annotation is the operator's, or configures the Pods.
pub(crate) fn is_reserved(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else {
        return false;
    };
    RESERVED
        .into_iter()
        .any(|reserved| prefix == reserved || prefix.ends_with(&format!(".{reserved}")))
}

/// Refuses keys that select Pods, name their configuration or call the Azure webhook.
pub(crate) fn pod(pod: &PodSettings, refusals: &mut Vec<Refusal>) {
    for (field, keys) in [("pod.labels", &pod.labels), ("pod.annotations", &pod.annotations)] {
        for key in keys.keys() {
            if is_reserved(key) {
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
