//! Identifies a token without containing it.

use behalf_entra::Secret;

/// SHA-256 of a token. It opens nothing, but finds the token's downstream token in memory: it is never logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(crate) fn of(token: &Secret) -> Self {
        Self(*token.digest())
    }

    /// The digest of a token that these bytes were computed from.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
