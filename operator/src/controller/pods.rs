//! The state of a Pod, and the report that it published.

use behalf_contract::StatusDocument;
use k8s_openapi::api::core::v1::Pod;

use crate::api::v1alpha1::KeyringSecretRef;

/// Number of consecutive failures after which a ready Pod counts as unreachable. A single failure may be a
/// restart or a lost packet.
pub const UNREACHABLE_AFTER: u32 = 3;

/// The report of one Pod.
#[derive(Debug, Clone)]
pub struct PodReport {
    /// The digest of the template that the Pod was made from.
    pub template: Option<String>,

    /// The Secret that the Pod mounts as its keyring.
    pub keyring: Option<KeyringSecretRef>,

    /// Whether the kubelet reports the Pod as ready.
    pub ready: bool,

    /// The Pod's last status document, or why it could not be read.
    pub document: Result<StatusDocument, Unread>,
}

/// A status document that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Number of consecutive failures.
    pub failures: u32,

    /// The last error, without an address.
    pub error: String,
}

/// Whether a Pod serves its status document.
pub(super) fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// True if none of the Pod's containers runs again. An evicted Pod stays in this state until somebody deletes it.
pub(super) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether the kubelet reports the Pod as ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    pod.status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
