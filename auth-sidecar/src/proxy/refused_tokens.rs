//! Remembers the user tokens that were refused within the last minute, and the refusals.

use std::time::Duration;

use behalf_entra::Secret;
use moka::future::Cache;

use super::refusal::Refusal;
use crate::token_digest::TokenDigest;

/// Maximum number of remembered refusals. At the limit the cache evicts one, and Entra refuses that token again.
const MAX_REFUSALS: u64 = 10_000;

/// Lifetime of a remembered refusal. A client that ignores a refusal must not cause requests to Entra
/// (AADSTS50196). A new login brings another token, which is used at once.
const REFUSAL_LIFETIME: Duration = Duration::from_mins(1);

/// The requests that a remembered refusal answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// Each request with this token.
    All,

    /// Tool calls. One tool may need a stronger login, and others not.
    ToolCalls,
}

/// Refusals of Entra, the server or the downstream API, by the hash of the user's token. It does not matter
/// who exchanges the token.
#[derive(Clone)]
pub(super) struct RefusedTokens(Cache<TokenDigest, (Answers, Refusal)>);

impl RefusedTokens {
    pub(super) fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(MAX_REFUSALS)
            .time_to_live(REFUSAL_LIFETIME)
            .build();
        Self(cache)
    }

    /// Returns the refusal of a request with this user token, if one is remembered.
    pub(super) async fn check(&self, user_token: &Secret, is_tool_call: bool) -> Result<(), Refusal> {
        match self.0.get(&TokenDigest::of(user_token)).await {
            Some((answers, refusal)) if is_tool_call || answers == Answers::All => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Remembers a refusal that passes only when the user acts, and returns whether it is one. Outages have
    /// their own pause ([`behalf_entra::OnBehalfOf`]).
    pub(super) async fn remember(&self, user_token: &Secret, answers: Answers, refusal: &Refusal) -> bool {
        let concerns_the_user = matches!(
            refusal,
            Refusal::SignInRequired | Refusal::InsufficientClaims(_) | Refusal::Blocked(_)
        );
        if concerns_the_user {
            let entry = (answers, refusal.clone());
            self.0.insert(TokenDigest::of(user_token), entry).await;
        }
        concerns_the_user
    }
}
