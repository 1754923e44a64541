use std::collections::BTreeMap;

use behalf_contract::{Key, KeyMaterial, Keyring, Keys};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::{BuildError, metadata};
use crate::controller::names;
use crate::controller::plan::Plan;

/// The randomness of a new keyring, and its time.
#[derive(Debug)]
pub struct FreshKeys {
    /// The first key for sessions, codes, cookies and records.
    pub sessions: KeyMaterial,

    /// The first key for the ids of registered clients.
    pub clients: KeyMaterial,

    /// Now.
    pub created_at: Timestamp,
}

/// The keyring Secret. Not `immutable`: rotation adds keys to it.
pub(super) fn build(plan: &Plan, fresh: FreshKeys) -> Result<Secret, BuildError> {
    let FreshKeys {
        sessions,
        clients,
        created_at,
    } = fresh;
    let keys = |id: &str, material: KeyMaterial| Keys {
        sealing: id.to_owned(),
        keys: vec![Key {
            id: id.to_owned(),
            material,
            created_at,
        }],
    };
    let keyring = Keyring {
        sessions: keys("s1", sessions),
        clients: keys("c1", clients),
    };
    let file = serde_json::to_vec(&keyring).map_err(BuildError::Keyring)?;
    Ok(Secret {
        metadata: metadata(plan, names::keyring_secret(&plan.object.name)),
        type_: Some("behalf.dev/keyring".to_owned()),
        data: Some(BTreeMap::from([(
            names::KEYRING_KEY.to_owned(),
            ByteString(file),
        )])),
        ..Secret::default()
    })
}
