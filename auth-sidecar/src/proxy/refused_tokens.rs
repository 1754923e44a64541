//! Remembers the user tokens that were refused within the last minute, and the refusals.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::refusal::ProxyRefusal;
use crate::token_digest::TokenDigest;

/// Maximum number of remembered refusals. At the limit a new one is not remembered, and Entra refuses that token again.
const MAX_REFUSALS: usize = 10_000;

/// Lifetime of a remembered refusal. A client that ignores a refusal must not cause requests to Entra
/// (AADSTS50196). A new login brings another token, which is used at once.
const REFUSAL_LIFETIME: Duration = Duration::from_mins(1);

/// The requests that a remembered refusal answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusalScope {
    /// Each request with this token.
    All,

    /// Tool calls. One tool may need a stronger login, and others not.
    ToolCalls,
}

/// Refusals of Entra, the server or the downstream API, by the hash of the user's token. It does not matter
/// who exchanges the token.
#[derive(Default)]
pub(super) struct RefusedTokens(Mutex<HashMap<TokenDigest, RememberedRefusal>>);

struct RememberedRefusal {
    scope: RefusalScope,
    refusal: ProxyRefusal,
    until: Instant,
}

impl RefusedTokens {
    /// Returns the refusal of a request with this user token, if one is remembered.
    pub(super) fn check(&self, user_token: &TokenDigest, is_tool_call: bool) -> Result<(), ProxyRefusal> {
        match self.lock().get(user_token) {
            Some(remembered)
                if (is_tool_call || remembered.scope == RefusalScope::All)
                    && remembered.until > Instant::now() =>
            {
                Err(remembered.refusal.clone())
            }
            _ => Ok(()),
        }
    }

    /// Remembers a refusal that passes only when the user acts, and returns whether it is one. Outages have
    /// their own pause ([`behalf_entra::OnBehalfOf`]).
    pub(super) fn remember(
        &self,
        user_token: &TokenDigest,
        scope: RefusalScope,
        refusal: &ProxyRefusal,
    ) -> bool {
        let concerns_the_user = matches!(
            refusal,
            ProxyRefusal::SignInRequired | ProxyRefusal::InsufficientClaims(_) | ProxyRefusal::Blocked(_)
        );
        if concerns_the_user {
            let now = Instant::now();
            let mut tokens = self.lock();
            tokens.retain(|_, remembered| remembered.until > now);
            if tokens.len() < MAX_REFUSALS || tokens.contains_key(user_token) {
                let remembered = RememberedRefusal {
                    scope,
                    refusal: refusal.clone(),
                    until: now + REFUSAL_LIFETIME,
                };
                tokens.insert(*user_token, remembered);
            }
        }
        concerns_the_user
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenDigest, RememberedRefusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use behalf_entra::Secret;

    use super::*;

    fn token(number: usize) -> TokenDigest {
        TokenDigest::of(&Secret::new(number.to_string()))
    }

    fn remember(tokens: &RefusedTokens, number: usize, scope: RefusalScope) {
        assert!(tokens.remember(&token(number), scope, &ProxyRefusal::SignInRequired));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_answers_its_token_for_a_minute() {
        let tokens = RefusedTokens::default();
        remember(&tokens, 1, RefusalScope::All);
        remember(&tokens, 2, RefusalScope::ToolCalls);
        assert_eq!(tokens.check(&token(1), false), Err(ProxyRefusal::SignInRequired));
        assert_eq!(tokens.check(&token(2), true), Err(ProxyRefusal::SignInRequired));
        assert_eq!(tokens.check(&token(2), false), Ok(()));
        assert_eq!(tokens.check(&token(3), true), Ok(()));
        tokio::time::advance(REFUSAL_LIFETIME).await;
        assert_eq!(tokens.check(&token(1), false), Ok(()));
        remember(&tokens, 3, RefusalScope::All);
        assert_eq!(tokens.lock().len(), 1, "the old ones are forgotten");
    }

    #[test]
    fn an_outage_is_not_remembered() {
        let tokens = RefusedTokens::default();
        assert!(!tokens.remember(&token(1), RefusalScope::All, &ProxyRefusal::Unavailable(None)));
        assert_eq!(tokens.check(&token(1), true), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_remembered_refusals_is_bounded() {
        let tokens = RefusedTokens::default();
        for number in 0..MAX_REFUSALS {
            let remembered = RememberedRefusal {
                scope: RefusalScope::All,
                refusal: ProxyRefusal::SignInRequired,
                until: Instant::now() + REFUSAL_LIFETIME,
            };
            tokens.lock().insert(token(number), remembered);
        }
        remember(&tokens, MAX_REFUSALS, RefusalScope::All);
        assert_eq!(tokens.check(&token(MAX_REFUSALS), true), Ok(()));
        remember(&tokens, 0, RefusalScope::ToolCalls);
        assert_eq!(
            tokens.check(&token(0), false),
            Ok(()),
            "a known token is replaced"
        );
        assert_eq!(tokens.lock().len(), MAX_REFUSALS);
    }
}
