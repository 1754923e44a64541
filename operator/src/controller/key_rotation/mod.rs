//! Decides which step of the rotation of an object's keys is due. Pure: it sees the keys without their material, the Pods'
//! reports and the time. The decision depends only on these, so that a new operator goes on where another one stopped.
//!
//! A rotation has two phases. A new key only opens at first. It seals once every Pod reports it, so that no Pod meets a
//! text that it cannot open. The key before it opens until everything that it sealed has expired.

mod change;
#[cfg(test)]
mod tests;

pub use change::{KeyChangeError, change, keys_in};

use std::sync::Arc;

use behalf_contract::{KeyringReport, is_key_id};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt as _;

use crate::api::v1alpha1::{KeyringSecretRef, KeysStatus, MAX_KEYS, McpServer, RetiringKey};
use crate::controller::children::keyring_of;
use crate::controller::names;
use crate::controller::pods::PodReport;
use crate::controller::pods::has_ended;

/// One step of a rotation: one write of the keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationStep {
    /// Adds a key that opens and does not seal yet.
    Add,

    /// Makes the key with this id the sealing one.
    Seal(String),

    /// Removes the keys with these ids.
    Remove(Vec<String>),
}

/// Everything that decides which step is due, beside the keys themselves.
#[derive(Debug)]
pub struct RotationInput<'a> {
    /// The text of the annotation that requests a rotation.
    pub request: Option<String>,

    /// Age of the sealing key at which a rotation begins.
    pub interval: SignedDuration,

    /// The keys that the object's Pods have loaded.
    pub pods: Pods<'a>,

    /// The current time.
    pub now: Timestamp,
}

/// The keys that the object's Pods have loaded.
#[derive(Debug)]
pub struct Pods<'a> {
    /// Number of Pods that run, start or stop, of every `ReplicaSet`.
    pub count: usize,

    /// The reports of these Pods. A Pod that was not read has none.
    pub reports: Vec<&'a KeyringReport>,

    /// Whether the object is suspended, so that no Pod starts.
    pub suspended: bool,
}

impl<'a> RotationInput<'a> {
    /// Returns the input of an object, or `None` if its interval is no duration: validation then refuses it.
    pub fn of(
        server: &McpServer,
        pods: &[Arc<Pod>],
        reports: &'a [PodReport],
        now: Timestamp,
    ) -> Option<Self> {
        let seconds = server.spec.keys.rotation_interval().seconds()?;
        Some(Self {
            request: request(server),
            interval: SignedDuration::from_secs(i64::try_from(seconds).ok()?),
            pods: Pods::of(server, pods.iter(), reports.iter()),
            now,
        })
    }
}

/// Returns the request for a rotation in the object's annotation.
pub(super) fn request(server: &McpServer) -> Option<String> {
    names::request(server, names::ROTATE_KEYS_ANNOTATION)
}

/// Records in a new keyring that it fulfils the request for a rotation. Otherwise a request from the time of a lost keyring
/// would begin a rotation, during which clients of lost sessions get 503 in place of a challenge.
pub(super) fn record_request(server: &McpServer, keyring: &mut Secret) {
    if let Some(request) = request(server) {
        keyring
            .annotations_mut()
            .insert(names::ROTATE_KEYS_ANNOTATION.to_owned(), request);
    }
}

impl<'a> Pods<'a> {
    fn of<'p>(
        server: &McpServer,
        pods: impl Iterator<Item = &'p Arc<Pod>>,
        reports: impl Iterator<Item = &'a PodReport>,
    ) -> Self {
        Self {
            count: pods.filter(|pod| !has_ended(pod)).count(),
            reports: reports
                .filter_map(|report| report.document.as_ref().ok())
                .map(|document| &document.keyring)
                .collect(),
            suspended: server.spec.suspend,
        }
    }

    /// Returns the Pods that mount this Secret as their keyring. After the spec has named another Secret, Pods of the earlier
    /// template still run with the one before.
    pub fn mounting(
        keyring: &KeyringSecretRef,
        server: &McpServer,
        pods: &[Arc<Pod>],
        reports: &'a [PodReport],
    ) -> Self {
        let pods = pods
            .iter()
            .filter(|pod| keyring_of(pod).as_ref() == Some(keyring));
        let reports = reports
            .iter()
            .filter(|report| report.keyring.as_ref() == Some(keyring));
        Self::of(server, pods, reports)
    }

    /// Returns whether every Pod has loaded a key. Without Pods this holds only if none starts: a Pod that starts at this
    /// moment may have mounted the keyring of a moment ago.
    fn all_open(&self, id: &str) -> bool {
        if self.count == 0 {
            return self.suspended;
        }
        let opens = |report: &&KeyringReport| report.opening.iter().any(|key| key == id);
        self.reports.len() == self.count && self.reports.iter().all(opens)
    }

    /// Returns the keys of a Secret that the operator does not read, as every Pod reports them. `None` if a Pod was not read,
    /// or if the Pods differ: some have not read a change yet.
    pub fn reported_keys(&self, secret: &str) -> Option<KeysStatus> {
        let (first, others) = self.reports.split_first()?;
        let same = |other: &&KeyringReport| {
            (&other.sealing, &other.next, &other.opening) == (&first.sealing, &first.next, &first.opening)
        };
        if self.reports.len() != self.count || !others.iter().all(same) {
            return None;
        }
        // A person who can replace a Pod chooses the texts of its report, so that the status takes nothing but ids of keys.
        let ids = || first.opening.iter().chain([&first.sealing]).chain(&first.next);
        if !ids().all(|id| is_key_id(id)) {
            return None;
        }
        let mut retiring: Vec<&String> = first
            .opening
            .iter()
            .filter(|id| **id != first.sealing && Some(*id) != first.next.as_ref())
            .collect();
        retiring.sort_unstable();
        retiring.dedup();
        Some(KeysStatus {
            current: first.sealing.clone(),
            secret_name: Some(secret.to_owned()),
            next: first.next.clone(),
            retiring: retiring
                .into_iter()
                .take(MAX_KEYS as usize)
                .map(|id| RetiringKey {
                    id: id.clone(),
                    retire_at: None,
                })
                .collect(),
            ..KeysStatus::default()
        })
    }

    fn any_seals(&self, id: &str) -> bool {
        self.reports.iter().any(|report| report.sealing == id)
    }
}

/// Returns the step that is due, if any. A rotation ends before the next one begins: a request that arrives meanwhile waits.
pub fn due_step(keys: &KeysStatus, input: &RotationInput<'_>) -> Option<RotationStep> {
    let RotationInput {
        request,
        interval,
        pods,
        now,
    } = input;
    if let Some(next) = keys.next.as_ref().filter(|next| pods.all_open(next)) {
        return Some(RotationStep::Seal(next.clone()));
    }
    let expired: Vec<String> = keys
        .retiring
        .iter()
        .filter(|key| key.retire_at.is_some_and(|time| time <= *now) && !pods.any_seals(&key.id))
        .map(|key| key.id.clone())
        .collect();
    if !expired.is_empty() {
        return Some(RotationStep::Remove(expired));
    }
    let is_full = keys.retiring.len() + 1 >= MAX_KEYS as usize;
    if keys.next.is_some() || is_full {
        return None;
    }
    let is_requested = request.is_some() && *request != keys.last_request;
    let is_old = keys
        .created_at
        .and_then(|time| time.checked_add(*interval).ok())
        .is_some_and(|time| time <= *now);
    (is_requested || is_old).then_some(RotationStep::Add)
}

/// Returns whether the keyring must be read for a rotation: a step is due, or the status does not say how old its key is.
pub fn needs_keyring(keys: &KeysStatus, input: &RotationInput<'_>) -> bool {
    keys.created_at.is_none() || due_step(keys, input).is_some()
}
