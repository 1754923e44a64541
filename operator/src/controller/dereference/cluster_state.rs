//! The objects and reports that one reconcile depends on, as they were read. Nothing here is judged.

use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};

use crate::controller::children::Existing;
use crate::controller::pods::PodReport;
use crate::controller::public_url::Claim;

/// The first line of a certificate in a bundle (RFC 7468, section 5).
pub const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// Everything that was read for one reconcile.
#[derive(Debug, Clone, Default)]
pub struct ClusterState {
    /// The `ConfigMap` of `entra.certificateAuthorityRef`, if it exists. Of each value it contains [`BEGIN_CERTIFICATE`] at most.
    pub certificate_authority: Option<ConfigMap>,

    /// The `ConfigMap` of `sessions.store.redis.certificateAuthorityRef`, if it exists. It is shortened in the same way.
    pub store_certificate_authority: Option<ConfigMap>,

    /// The `ServiceAccount` of `entra.federation.serviceAccountName`, if it exists.
    pub service_account: Option<ServiceAccount>,

    /// The id of the sealing key, if the status names it, and a Pod reports it or the Secret was seen with it a moment ago. The
    /// Secret was then read only if a step of the key rotation is due.
    pub key_in_use: Option<String>,

    /// The keyring Secret, if it was read and exists.
    pub keyring: Option<Secret>,

    /// Whether the keyring Secret was not read although nothing is known of it, because the object is new.
    pub keyring_is_unread: bool,

    /// The issuer of `ServiceAccount` tokens, as the API server publishes it.
    pub issuer: Option<String>,

    /// Whether the cluster serves `HTTPRoute`.
    pub has_gateway_api: bool,

    /// Other live objects that name the same `publicUrl`.
    pub other_claims: Vec<Claim>,

    /// The children of the object and its Pods, from the caches.
    pub existing: Existing,

    /// The reports of the Pods.
    pub reports: Vec<PodReport>,

    /// Whether most ready Pods are unreachable, so that the cause is on the operator's side.
    pub most_pods_unreachable: bool,
}
