//! The user in the keys of the store, and in the entries below these keys.

use behalf_entra::UserIdentity;
use sha2::{Digest as _, Sha256};

/// SHA-256 of a user's tenant id and object id. It is the user's key in the store. The length stands in front
/// of each part, so that no two pairs give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct UserDigest(pub(super) [u8; 32]);

impl UserDigest {
    pub(super) fn of(user: &UserIdentity) -> Self {
        let mut hash = Sha256::new();
        for part in [&user.tid, &user.oid] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}
