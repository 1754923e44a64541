//! What the cluster holds that one pass depends on. Facts only.

use std::sync::Arc;

use behalf_contract::{StatusDocument, endpoints};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt as _;

use crate::api::v1alpha1::McpServer;

/// Everything that was read for one pass.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The `ConfigMap` of `entra.certificateAuthorityRef`, if it exists.
    pub certificate_authority: Option<ConfigMap>,

    /// The `ServiceAccount` of `entra.federation.serviceAccountName`, if it exists.
    pub service_account: Option<ServiceAccount>,

    /// The keyring Secret, if it exists.
    pub keyring: Option<Secret>,

    /// The issuer of `ServiceAccount` tokens, as the API server publishes it.
    pub issuer: Option<String>,

    /// Other objects that name the same `publicUrl` or were accepted with it.
    pub claims: Vec<Claim>,

    /// The children as the caches hold them.
    pub live: Live,

    /// What the Pods said of themselves.
    pub reports: Vec<PodReport>,

    /// Whether the operator itself has lost sight of most Pods of the cluster.
    pub blind: bool,
}

/// Another object that names the same `publicUrl` or was accepted with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its namespace.
    pub namespace: String,

    /// Its name.
    pub name: String,

    /// Its UID, which decides between objects of the same second.
    pub uid: String,

    /// When it was created.
    pub created_at: Option<Timestamp>,

    /// Whether it was accepted with it, and with no other one since.
    pub accepted: bool,

    /// Whether anything was written of it yet.
    pub judged: bool,
}

/// The `publicUrl` with which an object was accepted last. Its status keeps it while later specs are refused
/// and what was accepted goes on to be served.
pub fn accepted_public_url(server: &McpServer) -> Option<&str> {
    let federation = server.status.as_ref()?.federation.as_ref()?;
    federation.redirect_uri.strip_suffix(endpoints::CALLBACK)
}

/// Whether this is the object `uid` and has to do with `public_url` still.
pub fn keeps(server: &McpServer, uid: &str, public_url: &str) -> bool {
    server.metadata.uid.as_deref() == Some(uid) && wants(server, public_url)
}

/// Another object's claim to `public_url`, if it has one and is there to stay.
pub fn claim(other: &McpServer, public_url: &str) -> Option<Claim> {
    wants(other, public_url).then(|| Claim {
        namespace: other.namespace().unwrap_or_default(),
        name: other.name_any(),
        uid: other.uid().unwrap_or_default(),
        created_at: other.creation_timestamp().map(|time| time.0),
        accepted: accepted_public_url(other) == Some(public_url),
        judged: other
            .status
            .as_ref()
            .is_some_and(|status| !status.conditions.is_empty()),
    })
}

fn wants(server: &McpServer, public_url: &str) -> bool {
    server.metadata.deletion_timestamp.is_none()
        && (server.spec.public_url == public_url || accepted_public_url(server) == Some(public_url))
}

/// The children of one object, and its Pods.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// The `ServiceAccount` of the object's name.
    pub service_account: Option<Arc<ServiceAccount>>,

    /// Every configuration, the current and older ones.
    pub config_maps: Vec<Arc<ConfigMap>>,

    /// The Deployment.
    pub deployment: Option<Arc<Deployment>>,

    /// The Service.
    pub service: Option<Arc<Service>>,

    /// The network policy.
    pub network_policy: Option<Arc<NetworkPolicy>>,

    /// The Pods.
    pub pods: Vec<Arc<Pod>>,
}

/// What one Pod said of itself.
#[derive(Debug, Clone)]
pub struct PodReport {
    /// The digest of the template that the Pod was made from.
    pub template: Option<String>,

    /// Whether the kubelet calls it ready.
    pub ready: bool,

    /// The document.
    pub document: Result<StatusDocument, Unread>,
}

/// A status document that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// How often in a row.
    pub failures: u32,

    /// The last error, without an address.
    pub error: String,
}
