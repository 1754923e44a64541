//! On-Behalf-Of with a cache in front.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};

use crate::client::EntraClient;
use crate::clock::Clock;
use crate::error::EntraError;
use crate::response::TokenSet;
use crate::secret::Secret;

/// A cached token has at least this long to live: a call that starts with it can end with it.
const MARGIN: Duration = Duration::from_mins(5);

/// Exchanges users' tokens for tokens of one downstream scope.
///
/// The key is the SHA-256 of the user's token, never the user: Conditional Access is judged for each
/// assertion, so a token obtained with one must not serve another. Callers with the same token wait for one
/// request and share its result; a failure is shared by those who waited and kept for nobody else.
#[derive(Clone)]
pub struct OnBehalfOf {
    client: EntraClient,
    scope: Arc<str>,
    tokens: Cache<Key, Arc<TokenSet>>,
}

/// A downstream token, and where it comes from.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// The token.
    pub token: Arc<TokenSet>,

    /// Entra answered just now; false for a token of the cache, which says nothing about what Entra would do.
    pub fresh: bool,
}

/// Hash of the user's token, and of the claims of an exchange under a challenge.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    assertion: [u8; 32],
    claims: Option<[u8; 32]>,
}

impl OnBehalfOf {
    /// At most `capacity` tokens of `scope` are kept.
    pub fn new(client: EntraClient, scope: impl Into<Arc<str>>, capacity: u64) -> Self {
        let expiry = BeforeTheTokenDoes(client.clock());
        let tokens = Cache::builder()
            .max_capacity(capacity)
            .expire_after(expiry)
            .build();
        Self {
            client,
            scope: scope.into(),
            tokens,
        }
    }

    /// The downstream token for `user_token`. With `claims` (a challenge of the resource) the cached token
    /// is passed over and the new one takes its place.
    pub async fn get(&self, user_token: &Secret, claims: Option<&str>) -> Result<Arc<TokenSet>, EntraError> {
        let exchanged = self.exchange(user_token, claims).await?;
        Ok(exchanged.token)
    }

    /// As [`Self::get`], and whether Entra was asked for it.
    pub async fn exchange(&self, user_token: &Secret, claims: Option<&str>) -> Result<Exchanged, EntraError> {
        let key = Key {
            assertion: hash(user_token.expose()),
            claims: claims.map(hash),
        };
        if let Some(token) = self.tokens.get(&key).await {
            return Ok(Exchanged { token, fresh: false });
        }
        let exchange = async {
            self.client
                .on_behalf_of(user_token, &self.scope, claims)
                .await
                .map(Arc::new)
        };
        let result = self.tokens.try_get_with_by_ref(&key, exchange).await;
        let token = result.map_err(|error| EntraError::clone(&error))?;
        if claims.is_some() {
            self.tokens
                .insert(Key { claims: None, ..key }, Arc::clone(&token))
                .await;
        }
        Ok(Exchanged { token, fresh: true })
    }

    /// Drops the cached token, after the resource refused it or the user's session ended.
    pub async fn forget(&self, user_token: &Secret) {
        self.tokens
            .invalidate(&Key {
                assertion: hash(user_token.expose()),
                claims: None,
            })
            .await;
    }
}

impl std::fmt::Debug for OnBehalfOf {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OnBehalfOf")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

struct BeforeTheTokenDoes(Arc<dyn Clock>);

impl Expiry<Key, Arc<TokenSet>> for BeforeTheTokenDoes {
    fn expire_after_create(&self, key: &Key, token: &Arc<TokenSet>, _: Instant) -> Option<Duration> {
        Some(self.storage_time(key, token))
    }

    fn expire_after_update(
        &self,
        key: &Key,
        token: &Arc<TokenSet>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.storage_time(key, token))
    }
}

impl BeforeTheTokenDoes {
    /// An exchange under a challenge is shared by those who wait for it and kept under no key of its own:
    /// the same challenge again means that its token did not satisfy the resource.
    fn storage_time(&self, key: &Key, token: &TokenSet) -> Duration {
        if key.claims.is_some() {
            return Duration::ZERO;
        }
        let left = Duration::try_from(token.expires_at.duration_since(self.0.now())).unwrap_or_default();
        left.saturating_sub(MARGIN)
    }
}
