//! The user in the keys of the store, and in the entries below these keys.

use behalf_entra::UserIdentity;
use behalf_runtime::digest_of_parts;

/// SHA-256 of a user's tenant id and object id. It is the user's key in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct UserDigest(pub(super) [u8; 32]);

impl UserDigest {
    pub(super) fn of(user: &UserIdentity) -> Self {
        Self(digest_of_parts(&[&user.tid, &user.oid]))
    }
}
