//! Reads everything that one reconcile depends on. It judges nothing and waits for no Pod.

pub mod cluster_state;
mod error;
mod gauges;
mod issuer;
pub mod pod_reports;
mod references;

pub use error::DereferenceError;
pub use issuer::Issuer;
pub use references::References;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Client, ResourceExt as _};

use crate::api::v1alpha1::{KeysType, McpServer};
use crate::controller::dereference::cluster_state::ClusterState;
use crate::controller::dereference::pod_reports::PodReports;
use crate::controller::key_rotation::{self, RotationInput};
use crate::controller::names;
use crate::controller::pods::PodReport;
use crate::controller::public_url;
use crate::controller::recent_secrets::{RecentSecrets, SecretKind};
use crate::controller::reference_defaults::ReferenceDefaults;
use crate::controller::watches::Stores;

/// Maximum duration of all reads of one reconcile. It leaves most of [`LIMIT`](super::error::LIMIT) for the revocations, which are written
/// also if a read fails.
const READS_LIMIT: Duration = Duration::from_secs(20);

/// Time between two looks for a refused watch while the caches are not filled.
const REFUSAL_POLL: Duration = Duration::from_secs(1);

/// Everything that [`from_caches`] and [`read`] read from.
#[derive(Clone)]
pub struct Sources {
    /// The API server.
    pub client: Client,

    /// The caches of the watched objects.
    pub stores: Stores,

    /// The latest reports of the Pods.
    pub reports: Arc<PodReports>,

    /// The cluster's issuer.
    pub issuer: Arc<Issuer>,

    /// Objects that `McpServers` name, as they were read.
    pub references: Arc<References>,

    /// Secrets that need not be read again.
    pub recent_secrets: Arc<RecentSecrets>,
}

impl Sources {
    /// Remembers a keyring that was read or written, if the object owns it.
    pub fn remember_keyring(&self, keyring: &Secret, now: Timestamp) {
        let owner = names::controller_uid(&keyring.metadata);
        if let Some((owner, keys)) = owner.zip(key_rotation::keys_in(keyring)) {
            let recent = &self.recent_secrets;
            recent.remember(owner, SecretKind::Keyring, &keys.current, now);
        }
    }
}

/// Returns what the caches contain for one reconcile of `server`. Makes no request.
pub async fn from_caches(sources: &Sources, server: &McpServer) -> Result<ClusterState, DereferenceError> {
    let (name, namespace) = (server.name_any(), server.namespace().unwrap_or_default());
    tokio::select! {
        // Full caches serve an object, whatever was refused.
        biased;
        ready = sources.stores.ready() => ready.map_err(|_| DereferenceError::Stopping)?,
        refusal = refused_watch(&sources.stores, &namespace) => return Err(DereferenceError::RefusedWatch(refusal)),
    }
    let existing = sources.stores.existing(&namespace, &name)?;
    let reports = sources.reports.of(&existing.pods);
    Ok(ClusterState {
        key_in_use: key_in_use(server, &reports),
        has_gateway_api: sources.stores.has_gateway_api(),
        other_claims: public_url::other_claims(server, &sources.stores.servers.state()),
        existing,
        reports,
        most_pods_unreachable: sources.reports.most_unreachable(),
        ..ClusterState::default()
    })
}

/// Waits until a watch of the namespace was refused for some time.
async fn refused_watch(stores: &Stores, namespace: &str) -> String {
    loop {
        if let Some(refusal) = stores.refused_watch(namespace) {
            return refusal;
        }
        tokio::time::sleep(REFUSAL_POLL).await;
    }
}

/// Reads the objects that `server` or the installation names and that no cache contains, and adds them to `found`.
pub async fn read(
    sources: &Sources,
    server: &McpServer,
    references: &ReferenceDefaults,
    found: &mut ClusterState,
    now: Timestamp,
) -> Result<(), DereferenceError> {
    tokio::time::timeout(READS_LIMIT, read_all(sources, server, references, found, now))
        .await
        .unwrap_or(Err(DereferenceError::TimedOut {
            what: "the objects that the McpServer refers to",
            limit: READS_LIMIT,
        }))
}

async fn read_all(
    sources: &Sources,
    server: &McpServer,
    references: &ReferenceDefaults,
    found: &mut ClusterState,
    now: Timestamp,
) -> Result<(), DereferenceError> {
    let entra = &server.spec.entra;
    let (client, reads) = (&sources.client, &sources.references);
    if let Some(reference) = references.certificate_authority(&server.spec) {
        found.certificate_authority = reads.config_maps.get(client, server, &reference.name).await?;
    }
    let redis = server.spec.sessions.store.redis.as_ref();
    if let Some(reference) = redis.and_then(|redis| redis.certificate_authority_ref.as_ref()) {
        let read = reads.config_maps.get(client, server, &reference.name);
        found.store_certificate_authority = read.await?;
    }
    if let Some(name) = &entra.federation.service_account_name {
        found.service_account = reads.service_accounts.get(client, server, name).await?;
    }
    found.issuer = sources.issuer.get(client, now).await?;
    // A keyring of another tool is not read: the Pods report its keys.
    let is_managed = server.spec.keys.kind == KeysType::Managed;
    let is_rotating = || {
        let keys = server.status.as_ref()?.keys.as_ref()?;
        let input = RotationInput::of(server, &found.existing.pods, &found.reports, now)?;
        Some(key_rotation::needs_keyring(keys, &input))
    };
    if !is_managed {
        return Ok(());
    }
    if found.key_in_use.is_none() && is_new(server, found) {
        // Most probably there is none yet. The create fails if there is one.
        found.keyring_is_unread = true;
    } else if is_rotating() == Some(true) || !is_keyring_known(sources, server, found, now) {
        read_keyring(sources, server, found, now).await?;
    }
    Ok(())
}

/// Returns whether the object was never reconciled to its end. The schema gives a new object a status with generation -1.
fn is_new(server: &McpServer, found: &ClusterState) -> bool {
    let status = server.status.as_ref();
    status.is_none_or(|status| status.observed_generation < 0 && status.keys.is_none())
        && found.existing.children.deployments.is_empty()
}

/// Returns whether a Pod reports the key of the status, or its Secret was seen with it within the last minute.
fn is_keyring_known(sources: &Sources, server: &McpServer, found: &mut ClusterState, now: Timestamp) -> bool {
    if found.key_in_use.is_none() {
        let secret = names::keyring_secret(&server.name_any());
        let owner = server.uid().unwrap_or_default();
        let keys = server.status.as_ref().and_then(|status| status.keys_of(&secret));
        found.key_in_use = keys.map(|keys| keys.current.clone()).filter(|sealing| {
            let recent = &sources.recent_secrets;
            recent.has_recent(&owner, SecretKind::Keyring, sealing, now)
        });
    }
    found.key_in_use.is_some()
}

/// Reads the keyring Secret.
pub async fn read_keyring(
    sources: &Sources,
    server: &McpServer,
    found: &mut ClusterState,
    now: Timestamp,
) -> Result<(), DereferenceError> {
    let namespace = server.namespace().unwrap_or_default();
    let name = names::keyring_secret(&server.name_any());
    found.keyring = references::get(&sources.client, &namespace, &name).await?;
    found.keyring_is_unread = false;
    if let Some(keyring) = &found.keyring {
        sources.remember_keyring(keyring, now);
    }
    Ok(())
}

/// Returns the id of the sealing key if the status names it and a Pod reports that it seals with it, or with the key that
/// seals next: the status may be older than the last step of a rotation. The keyring is then in use, so its Secret need not be
/// read unless a step of its rotation is due.
///
/// The status may also describe the Secret of another tool, which an earlier spec named. Its keys say nothing about the keyring
/// of the operator.
fn key_in_use(server: &McpServer, reports: &[PodReport]) -> Option<String> {
    let secret = names::keyring_secret(&server.name_any());
    let keys = server.status.as_ref()?.keys_of(&secret)?;
    let reported = |report: &PodReport| {
        let sealing = report
            .document
            .as_ref()
            .ok()
            .map(|document| &document.keyring.sealing);
        sealing.is_some_and(|sealing| *sealing == keys.current || Some(sealing) == keys.next.as_ref())
    };
    reports.iter().any(reported).then(|| keys.current.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_children_with_the_objects_label_and_namespace_are_found() {
        let server = crate::testing::server(crate::testing::QUICKSTART);
        let mut cached = crate::testing::children(&server).existing();
        let mut own = cached.config_maps.clone();
        let config_map = own[0].as_ref().clone();
        let mut of_another_object = config_map.clone();
        of_another_object.metadata.name = Some("of-another-object".to_owned());
        of_another_object.metadata.labels = Some(names::labels("other"));
        let mut elsewhere = config_map;
        elsewhere.metadata.namespace = Some("elsewhere".to_owned());
        cached
            .config_maps
            .extend([Arc::new(of_another_object), Arc::new(elsewhere)]);
        let stores = Stores::containing(&[], cached, Vec::new());
        let existing = stores.existing("mcp", "azure-devops").unwrap();
        // A cache has no order.
        let mut found = existing.children.config_maps;
        found.sort_by_key(|config_map| config_map.name_any());
        own.sort_by_key(|config_map| config_map.name_any());
        assert_eq!(found, own);
        assert_eq!(existing.children.services.len(), 1);
    }
}
