//! What the cluster holds that one pass depends on. Facts only.

use std::sync::Arc;

use behalf_contract::StatusDocument;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{Resource as _, ResourceExt as _};

use super::accepted::{Accepted, told_public_url};
use super::reason::{ConditionType, Reason};
use super::status::find;
use super::stores::Guarded;
use crate::api::v1alpha1::McpServer;

/// A pass takes seconds; an older object that was not judged by then is not waited for.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(30);

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

    /// What this operator itself accepted the object with last. Nobody else can have written it.
    pub remembered: Option<Accepted>,

    /// Whether the object has waited for older ones long enough.
    pub has_waited: bool,

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

    /// Whether it was accepted or refused at all.
    pub judged: bool,

    /// Whether this version of the operator can read it.
    pub readable: bool,
}

/// Another object's claim to `public_url`, if it has one and is there to stay. `deployment` finds that object's.
pub fn claim(
    other: &Guarded,
    public_url: &str,
    deployment: impl FnOnce() -> Option<Arc<Deployment>>,
) -> Option<Claim> {
    let metadata = other.meta();
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
    let (accepted, judged) = match &other.0 {
        Ok(server) => (
            // Each pass asks this of every object; hardly any tells of the same address.
            told_public_url(server) == Some(public_url)
                && Accepted::by_both(server, deployment().as_deref()).is_some(),
            server
                .status
                .as_ref()
                .is_some_and(|status| find(&status.conditions, ConditionType::Accepted).is_some()),
        ),
        // Of what this version cannot read only the Deployment tells; its Pods go on.
        Err(_) => (is_served(other, public_url, deployment), true),
    };
    let wanted = other
        .0
        .as_ref()
        .is_ok_and(|server| server.spec.public_url == public_url);
    (accepted || wanted).then(|| Claim {
        namespace: other.namespace().unwrap_or_default(),
        name: other.name_any(),
        uid: other.uid().unwrap_or_default(),
        created_at: other.creation_timestamp().map(|time| time.0),
        accepted,
        judged,
        readable: other.0.is_ok(),
    })
}

fn is_served(
    object: &Guarded,
    public_url: &str,
    deployment: impl FnOnce() -> Option<Arc<Deployment>>,
) -> bool {
    let accepted = || Accepted::on(deployment()?.as_ref(), object.meta().uid.as_deref()?);
    accepted().is_some_and(|accepted| accepted.public_url == public_url)
}

/// Whether an object has waited for an older one's turn for as long as it has to. Somebody who changes that one all
/// the time keeps its status from being written.
pub fn has_waited(server: &McpServer, now: Timestamp) -> bool {
    let reconciling = server
        .status
        .as_ref()
        .and_then(|status| find(&status.conditions, ConditionType::Reconciling));
    reconciling.is_some_and(|condition| {
        condition.reason == Reason::PublicUrlAwaited.as_str()
            && now.duration_since(condition.last_transition_time.0) >= LONGEST_WAIT
    })
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
