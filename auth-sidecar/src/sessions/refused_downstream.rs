//! The downstream tokens that their API refused.

use std::time::Duration;

use behalf_entra::Secret;
use moka::future::Cache;

use crate::token_digest::TokenDigest;

/// Maximum number of remembered refused tokens, and the longest life of a token of Entra (with continuous access
/// evaluation). A token that is forgotten earlier costs one more refused call.
const REFUSED: (u64, Duration) = (10_000, Duration::from_hours(28));

/// The downstream tokens that their API refused in this process, by their SHA-256. Another replica may not know yet, and a
/// store may bring a value back, so that the removal of the entry alone is not enough.
pub(super) struct RefusedDownstream(Cache<TokenDigest, ()>);

impl Default for RefusedDownstream {
    fn default() -> Self {
        let (most, life) = REFUSED;
        Self(Cache::builder().max_capacity(most).time_to_live(life).build())
    }
}

impl RefusedDownstream {
    pub(super) async fn insert(&self, token: &Secret) {
        self.0.insert(TokenDigest::of(token), ()).await;
    }

    pub(super) fn contains(&self, token: &Secret) -> bool {
        self.0.contains_key(&TokenDigest::of(token))
    }
}
