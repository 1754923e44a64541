//! On-Behalf-Of exchanges, and the cache of their tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use moka::future::Cache;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::{Entry, Expiry};
use sha2::{Digest as _, Sha256};

use crate::client::EntraClient;
use crate::clock::Clock;
use crate::error::EntraError;
use crate::next_step::NextStep;
use crate::pause;
use crate::response::TokenSet;
use crate::secret::Secret;
use crate::shared_tokens::{NotShared, SharedTokens};

/// A cached token has at least this long to live: a call that starts with it can end with it.
const MARGIN: Duration = Duration::from_mins(5);

/// Approximate size of the cache's own data for one token, in bytes.
const OVERHEAD: usize = 512;

/// Maximum number of assertions whose failed exchange is remembered. Each takes about as much as a cached
/// token without its text.
const FAILURES: u64 = 10_000;

/// Maximum life of a remembered failure. No pause is longer.
const FAILURE_LIFE: Duration = Duration::from_mins(10);

/// Exchanges users' tokens for tokens of one downstream scope.
///
/// The key is the SHA-256 of the user's token, never the user: Conditional Access is judged for each
/// assertion, so a token obtained with one must not serve another. Callers with the same token wait for one
/// request and share its result. An exchange ends even if its callers go away, so that their next calls find the
/// token, or the pause. A refusal is shared by the callers that waited and is not kept; after an outage Entra is
/// not asked again for this token before [`EntraError::pause`] has passed.
#[derive(Clone)]
pub struct OnBehalfOf {
    client: EntraClient,
    scope: Arc<str>,
    tokens: Cache<Key, Arc<TokenSet>>,
    failures: Cache<Key, AssertionPause>,
}

/// A downstream token, and whether it comes from the cache.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// The downstream token.
    pub token: Arc<TokenSet>,

    /// True if Entra issued the token for this call. A cached or shared token says nothing about Entra's present answer.
    pub fresh: bool,
}

/// Hash of the user's token, and of the claims of an exchange under a challenge.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    assertion: [u8; 32],
    claims: Option<[u8; 32]>,
}

/// No exchange of one assertion is sent until this time, because of an outage that the last one encountered.
#[derive(Clone)]
struct AssertionPause {
    cause: Arc<EntraError>,
    until: Timestamp,
}

impl OnBehalfOf {
    /// Caches tokens of `scope` up to `capacity` bytes together. Beyond that, the token that was not used for
    /// the longest time is evicted.
    pub fn new(client: EntraClient, scope: impl Into<Arc<str>>, capacity: u64) -> Self {
        let expiry = ExpireBeforeToken(client.clock());
        let tokens = Cache::builder()
            .max_capacity(capacity)
            .weigher(|_: &Key, token: &Arc<TokenSet>| size(token))
            // moka's default refuses a new token for the sake of one that was used more often. Each call of the
            // new session would then exchange again.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(expiry)
            .build();
        let failures = Cache::builder()
            .max_capacity(FAILURES)
            .time_to_live(FAILURE_LIFE)
            .build();
        Self {
            client,
            scope: scope.into(),
            tokens,
            failures,
        }
    }

    /// Returns the downstream token for `user_token`. With `claims` (a challenge of the resource) it exchanges
    /// again, and the new token replaces the cached one.
    pub async fn get(&self, user_token: &Secret, claims: Option<&str>) -> Result<Arc<TokenSet>, EntraError> {
        let exchanged = self.exchange(user_token, claims, || NotShared).await?;
        Ok(exchanged.token)
    }

    /// As [`Self::get`], and says whether Entra issued the token for this call. Before it asks Entra without `claims`, it
    /// looks for the token that another process shares. It shares the token that Entra issues. A cached token needs no
    /// `shared`.
    pub async fn exchange<S: SharedTokens>(
        &self,
        user_token: &Secret,
        claims: Option<&str>,
        shared: impl FnOnce() -> S + Send,
    ) -> Result<Exchanged, EntraError> {
        let key = Key {
            assertion: *user_token.digest(),
            claims: claims.map(hash),
        };
        if let Some(token) = self.tokens.get(&key).await {
            return Ok(Exchanged { token, fresh: false });
        }
        // The exchange runs in its own task, so that it goes on if the caller disconnects. Each waiting caller has such a task,
        // at most 16 for each user; sharing one would need a table of running exchanges.
        let (this, user_token, claims) = (self.clone(), user_token.clone(), claims.map(str::to_owned));
        let shared = shared();
        let exchange = async move {
            this.exchange_once(key, &user_token, claims.as_deref(), &shared)
                .await
        };
        match tokio::spawn(exchange).await {
            Ok(result) => result,
            // The task panicked, or the process stops.
            Err(_) => Err(EntraError::TimedOut),
        }
    }

    /// Exchanges the token, or waits for the exchange that another caller began.
    async fn exchange_once(
        &self,
        key: Key,
        user_token: &Secret,
        claims: Option<&str>,
        shared: &impl SharedTokens,
    ) -> Result<Exchanged, EntraError> {
        let fresh = AtomicBool::new(false);
        let exchange = async {
            if claims.is_none()
                && let Some(token) = shared.load().await
                && self.is_usable(&token)
            {
                return Ok(Arc::new(token));
            }
            // This check is part of the shared request, so that a call that comes a moment later does not
            // send another one.
            self.check_pause(&key).await?;
            match self.client.on_behalf_of(user_token, &self.scope, claims).await {
                Ok(token) => {
                    fresh.store(true, Ordering::Relaxed);
                    shared.save(&token).await;
                    Ok(Arc::new(token))
                }
                Err(error) => {
                    self.begin_pause(&key, &error).await;
                    Err(error)
                }
            }
        };
        let result = self.tokens.try_get_with_by_ref(&key, exchange).await;
        let token = result.map_err(|error| EntraError::clone(&error))?;
        if claims.is_some() {
            self.tokens
                .insert(Key { claims: None, ..key }, Arc::clone(&token))
                .await;
        }
        Ok(Exchanged {
            token,
            fresh: fresh.into_inner(),
        })
    }

    /// Returns the cached downstream token for the user's token with this SHA-256.
    pub async fn cached(&self, user_token: &[u8; 32]) -> Option<Arc<TokenSet>> {
        self.tokens.get(&Key::of(user_token)).await
    }

    /// True if the token lives long enough for a call.
    fn is_usable(&self, token: &TokenSet) -> bool {
        let left = token.expires_at.duration_since(self.client.now());
        Duration::try_from(left).is_ok_and(|left| left > MARGIN)
    }

    /// Drops the downstream token of a user's token that is no longer used, by the SHA-256 of the user's token.
    pub async fn forget(&self, user_token: &[u8; 32]) {
        self.tokens.invalidate(&Key::of(user_token)).await;
    }

    /// Drops the cached token after the resource refused it. A newer token stays: when several calls are
    /// refused with the same token, the first one exchanges again and the others use the result.
    pub async fn forget_refused(&self, user_token: &[u8; 32], refused: &Secret) {
        let key = Key::of(user_token);
        let decide = |entry: Option<Entry<Key, Arc<TokenSet>>>| {
            let is_refused = entry.is_some_and(|entry| entry.value().access_token == *refused);
            std::future::ready(if is_refused { Op::Remove } else { Op::Nop })
        };
        self.tokens.entry_by_ref(&key).and_compute_with(decide).await;
    }

    async fn check_pause(&self, key: &Key) -> Result<(), EntraError> {
        let Some(AssertionPause { cause, until }) = self.failures.get(key).await else {
            return Ok(());
        };
        match pause::left(self.client.now(), until) {
            Some(after) => Err(EntraError::Paused { after, cause }),
            None => Ok(()),
        }
    }

    async fn begin_pause(&self, key: &Key, error: &EntraError) {
        // A pause that has not ended is not prolonged, and one of the whole client ends on its own.
        let is_outage = matches!(error.next_step(), NextStep::RetryLater { .. });
        if !is_outage || matches!(error, EntraError::Paused { .. }) {
            return;
        }
        let pause = AssertionPause {
            cause: Arc::new(error.clone()),
            until: pause::end_of(error.pause(), self.client.now()),
        };
        self.failures.insert(key.clone(), pause).await;
    }
}

impl Key {
    /// The cache key of a user's token without a challenge.
    fn of(user_token: &[u8; 32]) -> Self {
        Self {
            assertion: *user_token,
            claims: None,
        }
    }
}

/// Size of a cached token in bytes.
fn size(token: &TokenSet) -> u32 {
    let texts = [
        Some(&token.access_token),
        token.refresh_token.as_ref(),
        token.id_token.as_ref(),
    ];
    let text: usize = texts.into_iter().flatten().map(|text| text.expose().len()).sum();
    u32::try_from(OVERHEAD + text).unwrap_or(u32::MAX)
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

struct ExpireBeforeToken(Arc<dyn Clock>);

impl Expiry<Key, Arc<TokenSet>> for ExpireBeforeToken {
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

impl ExpireBeforeToken {
    /// Callers with the same challenge share one exchange. Its token has no cache key of its own: the same challenge
    /// again means that the token did not satisfy the resource.
    fn storage_time(&self, key: &Key, token: &TokenSet) -> Duration {
        if key.claims.is_some() {
            return Duration::ZERO;
        }
        let left = Duration::try_from(token.expires_at.duration_since(self.0.now())).unwrap_or_default();
        left.saturating_sub(MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::assertion::FederatedTokenFile;
    use crate::clock::FixedClock;
    use crate::http_client::{HttpLimits, Proxies};
    use crate::settings::Settings;
    use crate::trust_roots::TrustRoots;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// A cache whose client sends nothing.
    fn cache(capacity: u64) -> OnBehalfOf {
        // Idempotent: the first test of the process installs the provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = "https://login.example".parse().unwrap();
        let client = EntraClient::new(
            Settings::new(
                &authority,
                "0b4f3a51-6a2c-4c0e-9d3b-2f4e5a6b7c8d",
                "7d0c2f1e-1111-4222-8333-944445555666",
            )
            .unwrap(),
            FederatedTokenFile::new("/nowhere"),
            TrustRoots::system()
                .http_client(HttpLimits::default(), Proxies::None)
                .unwrap(),
            Arc::new(FixedClock::new(NOW)),
        );
        OnBehalfOf::new(client, "scope", capacity)
    }

    /// A token as long as a usual one.
    fn token() -> Arc<TokenSet> {
        Arc::new(TokenSet {
            access_token: Secret::new("t".repeat(3 * 1024)),
            expires_at: NOW + SignedDuration::from_hours(1),
            refresh_token: None,
            id_token: None,
        })
    }

    fn key(user: u64) -> Key {
        Key::of(Secret::new(user.to_string()).digest())
    }

    #[tokio::test]
    async fn as_many_tokens_fit_as_the_documentation_says() {
        let (cache, token) = (cache(64 * 1024 * 1024), token());
        for user in 0..20_000 {
            cache.tokens.insert(key(user), Arc::clone(&token)).await;
        }
        cache.tokens.run_pending_tasks().await;
        assert_eq!(cache.tokens.entry_count(), 18_724);
    }

    #[tokio::test]
    async fn a_full_cache_evicts_the_least_recently_used_token() {
        const FITTING: u64 = 100;
        let token = token();
        let cache = cache(FITTING * u64::from(size(&token)));
        for user in 0..FITTING {
            cache.tokens.insert(key(user), Arc::clone(&token)).await;
        }
        for _ in 0..10 {
            for user in 1..FITTING {
                assert!(cache.tokens.get(&key(user)).await.is_some());
            }
        }
        cache.tokens.insert(key(FITTING), Arc::clone(&token)).await;
        cache.tokens.run_pending_tasks().await;
        assert!(
            cache.tokens.contains_key(&key(FITTING)),
            "the new token was refused"
        );
        assert!(!cache.tokens.contains_key(&key(0)));
        assert_eq!(cache.tokens.entry_count(), FITTING);
    }
}
