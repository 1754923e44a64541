//! Changes a keyring Secret by one step of a rotation. Pure; the caller writes the Secret.

use behalf_contract::{Keyring, KeyringError, Keys};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use super::RotationStep;
use crate::api::v1alpha1::{KeysStatus, MAX_KEYS, MAX_REQUEST_LENGTH, RetiringKey};
use crate::controller::children::{CLIENTS, FreshKey, FreshKeys, SESSIONS};
use crate::controller::names;

/// Time for which a client key opens after another one seals. Clients keep their ids for as long as these open.
const CLIENT_IDS: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Time beyond the longest session for which a session key opens after another one seals. Pods read a changed keyring
/// some minutes later than it is written, and clocks of nodes differ.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);

/// Lifetime of an approval that the sidecar remembers for a browser. It is sealed with a session key.
const REMEMBERED_APPROVAL: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A keyring that could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyChangeError {
    /// The operating system has no randomness.
    #[error("failed to draw random keys")]
    Random(#[source] getrandom::Error),

    /// The keyring, as it was or as it would become, cannot be used.
    #[error("failed to change the keyring")]
    Keyring(#[source] KeyringError),

    /// The keyring could not be written as JSON. Only a defect of this program can cause it.
    #[error("failed to write the keyring as JSON")]
    Json(#[source] serde_json::Error),
}

/// Returns the keys in a keyring Secret, without their material, or `None` if it has no usable keyring.
pub fn keys_in(secret: &Secret) -> Option<KeysStatus> {
    let keys = parse(secret).ok()?.sessions;
    let next = keys.next().map(|key| key.id.clone());
    let sealing = keys.keys.iter().find(|key| key.id == keys.sealing);
    Some(KeysStatus {
        secret_name: secret.metadata.name.clone(),
        created_at: sealing.map(|key| key.created_at),
        retiring: keys
            .keys
            .iter()
            .filter(|key| key.id != keys.sealing && Some(&key.id) != next.as_ref())
            // Somebody may have added keys by hand, and the API server refuses a status with more.
            .take(MAX_KEYS as usize)
            .map(|key| RetiringKey {
                id: key.id.clone(),
                retire_at: key.retire_at,
            })
            .collect(),
        next,
        last_request: secret
            .annotations()
            .get(names::ROTATE_KEYS_ANNOTATION)
            // Somebody may have changed it by hand, and the API server refuses a status with a longer text.
            .map(|request| request.chars().take(MAX_REQUEST_LENGTH as usize).collect()),
        current: keys.sealing,
    })
}

fn parse(secret: &Secret) -> Result<Keyring, KeyringError> {
    let file = secret.data.as_ref().and_then(|data| data.get(names::KEYRING_KEY));
    Keyring::parse(file.map_or(b"".as_slice(), |bytes| bytes.0.as_slice()))
}

/// Returns the Secret after `step`. Everything else in it stays, also the resource version that was read: the API server
/// refuses to write it if another writer was faster.
///
/// The client keys rotate in the same steps. Each Pod reads both sets from one file, so that a Pod that reports a session key
/// has the client key, too.
pub fn change(
    secret: &Secret,
    step: &RotationStep,
    request: Option<String>,
    fresh: impl FnOnce() -> Result<FreshKeys, getrandom::Error>,
    longest_session: SignedDuration,
    now: Timestamp,
) -> Result<Secret, KeyChangeError> {
    let mut keyring = parse(secret).map_err(KeyChangeError::Keyring)?;
    let mut secret = secret.clone();
    let Keyring { sessions, clients } = &mut keyring;
    match step {
        RotationStep::Add => {
            let keys = fresh().map_err(KeyChangeError::Random)?;
            add(sessions, SESSIONS, keys.sessions, now);
            if clients.keys.len() < MAX_KEYS as usize {
                add(clients, CLIENTS, keys.clients, now);
            }
            if let Some(request) = request {
                secret
                    .annotations_mut()
                    .insert(names::ROTATE_KEYS_ANNOTATION.to_owned(), request);
            }
        }
        RotationStep::Seal(_) => {
            let longest = longest_session.max(REMEMBERED_APPROVAL);
            seal(sessions, after(now, longest.saturating_add(MARGIN)));
            seal(clients, after(now, CLIENT_IDS));
        }
        RotationStep::Remove(ids) => {
            let sealing = sessions.sealing.clone();
            sessions
                .keys
                .retain(|key| key.id == sealing || !ids.contains(&key.id));
        }
    }
    let sealing = clients.sealing.clone();
    clients
        .keys
        .retain(|key| key.id == sealing || key.retire_at.is_none_or(|time| time > now));
    let file = serde_json::to_vec(&keyring).map_err(KeyChangeError::Json)?;
    // A random id may repeat one of the keyring. Such a keyring is not written; the next try draws another id.
    Keyring::parse(&file).map_err(KeyChangeError::Keyring)?;
    secret
        .data
        .get_or_insert_default()
        .insert(names::KEYRING_KEY.to_owned(), ByteString(file));
    Ok(secret)
}

/// Adds a key that does not seal. It is the newest one, also after the clock went back: the newest key seals next.
fn add(keys: &mut Keys, set: char, fresh: FreshKey, now: Timestamp) {
    let newest = keys.keys.iter().map(|key| key.created_at).max();
    let created_at = newest.map_or(now, |time| now.max(after(time, SignedDuration::from_secs(1))));
    keys.keys.push(fresh.into_key(set, created_at));
}

/// Makes the next key the sealing one. The key before it opens until `retire_at`.
fn seal(keys: &mut Keys, retire_at: Timestamp) {
    let Some(next) = keys.next().map(|key| key.id.clone()) else {
        return;
    };
    for key in keys.keys.iter_mut().filter(|key| key.id == keys.sealing) {
        key.retire_at = Some(retire_at);
    }
    keys.sealing = next;
}

fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
