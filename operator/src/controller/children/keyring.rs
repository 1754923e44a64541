//! Builds the Secret with the keyring.

use std::collections::BTreeMap;

use behalf_contract::{Key, KeyMaterial, Keyring, Keys};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::{BuildError, ChildKind, metadata};
use crate::controller::names;
use crate::controller::plan::Plan;

/// The randomness of a new keyring, and its time.
#[derive(Debug)]
pub struct FreshKeys {
    /// The first key for sessions, codes, cookies and records.
    pub sessions: FreshKey,

    /// The first key for the ids of registered clients.
    pub clients: FreshKey,

    /// Now.
    pub created_at: Timestamp,
}

/// A random key with a random id: the keys of a keyring that was replaced never have the ids of the old ones.
#[derive(Debug)]
pub struct FreshKey {
    /// Names the key for ever.
    pub id: [u8; 4],

    /// The key.
    pub material: KeyMaterial,
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
    let keys = |kind: char, FreshKey { id, material }| {
        let id = format!("{kind}{:08x}", u32::from_be_bytes(id));
        Keys {
            sealing: id.clone(),
            keys: vec![Key {
                id,
                material,
                created_at,
            }],
        }
    };
    let keyring = Keyring {
        sessions: keys('s', sessions),
        clients: keys('c', clients),
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
