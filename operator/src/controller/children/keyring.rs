//! Builds the Secret with the keyring.

use std::collections::BTreeMap;

use behalf_contract::{Key, KeyMaterial, Keyring, Keys};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::{BuildError, ChildKind, metadata};
use crate::controller::names;
use crate::controller::plan::Plan;

/// First character of the ids of session keys.
pub(in crate::controller) const SESSIONS: char = 's';

/// First character of the ids of client keys.
pub(in crate::controller) const CLIENTS: char = 'c';

/// The randomness of new keys, and their time.
#[derive(Debug)]
pub struct FreshKeys {
    /// A key for sessions, codes, cookies and records.
    pub sessions: FreshKey,

    /// A key for the ids of registered clients.
    pub clients: FreshKey,

    /// Now.
    pub created_at: Timestamp,
}

/// A random key with a random id: the keys of a keyring that was replaced never have the ids of the old ones.
#[derive(Debug)]
pub struct FreshKey {
    /// Names the key for ever.
    pub id: [u8; 4],

    /// Random bytes, from which subkeys are derived.
    pub material: KeyMaterial,
}

impl FreshKey {
    /// Returns the key with the id `<set><eight hexadecimal digits>`.
    pub(in crate::controller) fn into_key(self, set: char, created_at: Timestamp) -> Key {
        Key {
            id: format!("{set}{:08x}", u32::from_be_bytes(self.id)),
            material: self.material,
            created_at,
            retire_at: None,
        }
    }
}

impl ChildKind for Secret {
    const KIND: &'static str = "Secret";
}

/// The keyring Secret. Not `immutable`: rotation adds keys to it.
pub(super) fn build(plan: &Plan, fresh: FreshKeys) -> Result<Secret, BuildError> {
    let FreshKeys {
        sessions,
        clients,
        created_at,
    } = fresh;
    let keys = |key: Key| Keys {
        sealing: key.id.clone(),
        keys: vec![key],
    };
    let keyring = Keyring {
        sessions: keys(sessions.into_key(SESSIONS, created_at)),
        clients: keys(clients.into_key(CLIENTS, created_at)),
    };
    let file = serde_json::to_vec(&keyring).map_err(BuildError::Keyring)?;
    Ok(Secret {
        metadata: metadata(plan, names::keyring_secret(&plan.object.name)),
        type_: Some(names::KEYRING_TYPE.to_owned()),
        data: Some(BTreeMap::from([(
            names::KEYRING_KEY.to_owned(),
            ByteString(file),
        )])),
        ..Secret::default()
    })
}
