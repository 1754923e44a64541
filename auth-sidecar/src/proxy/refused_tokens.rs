//! Users' tokens that were refused lately, and the answer that their clients got.

use std::time::Duration;

use behalf_entra::Secret;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};

use super::refusal::Refusal;

/// Maximum number of refusals that are remembered.
const REFUSALS: u64 = 10_000;

/// Life of a remembered refusal. A client that ignores a refusal must not cause requests to Entra
/// (AADSTS50196). A new login brings another token, which is used at once.
const REFUSED_FOR: Duration = Duration::from_mins(1);

/// Refusals of Entra, the server or the downstream API, by the hash of the user's token. It does not matter
/// who exchanges the token.
#[derive(Clone)]
pub(super) struct RefusedTokens(Cache<[u8; 32], Refusal>);

impl RefusedTokens {
    pub(super) fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(REFUSALS)
            .time_to_live(REFUSED_FOR)
            .build();
        Self(cache)
    }

    /// Returns the refusal of a call with this user token, if one is remembered.
    pub(super) async fn check(&self, user_token: &Secret) -> Result<(), Refusal> {
        match self.0.get(&hash(user_token)).await {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// Remembers a refusal that concerns the user. Others pass without the user: outages have their own pause
    /// ([`behalf_entra::OnBehalfOf`]).
    pub(super) async fn remember(&self, user_token: &Secret, refusal: &Refusal) {
        if matches!(refusal, Refusal::SignInRequired | Refusal::Blocked(_)) {
            self.0.insert(hash(user_token), refusal.clone()).await;
        }
    }
}

fn hash(token: &Secret) -> [u8; 32] {
    Sha256::digest(token.expose()).into()
}
