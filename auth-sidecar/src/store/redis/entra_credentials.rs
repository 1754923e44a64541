//! User and password for Redis from Entra: the object id of an application, and its token.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::auth::BasicAuth;
use ::redis::{RedisError, RedisResult};
use behalf_entra::{ApplicationToken, Clock, EntraClient, EntraError};
use jiff::{SignedDuration, Timestamp};

/// A token is replaced when this part of its lifetime is left, as a divisor. Of an hour a quarter is left for the tries
/// during an outage of Entra.
const RENEWED_PART: i32 = 4;

/// Shortest sleep between two looks at the token.
const MIN_SLEEP: Duration = Duration::from_millis(500);

/// Why there is no token. The next attempts wait for the end of the pause.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to get a token for the session store from Entra; check that the application trusts this ServiceAccount"
)]
struct NoToken(#[source] EntraError);

/// The token of the application for Redis. All connections share it, so that a reconnect asks Entra nothing.
///
/// Connections open with the present token while it lives, and each open one sees to its replacement: so a slow Entra delays
/// nobody.
#[derive(Clone)]
pub(super) struct EntraCredentials {
    client: EntraClient,
    scope: Arc<str>,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<TokenState>>,
    /// Held by the one request to Entra.
    request: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct TokenState {
    token: Option<ApplicationToken>,
    failure: Option<TokenFailure>,
}

/// The last failure to get a token. Entra is not asked again before `until`.
struct TokenFailure {
    error: EntraError,
    until: Timestamp,
}

impl EntraCredentials {
    pub(super) fn new(client: EntraClient, scope: &str) -> Self {
        Self {
            scope: scope.into(),
            clock: client.clock(),
            client,
            state: Arc::default(),
            request: Arc::default(),
        }
    }

    /// Returns user and password of this moment. They are valid. Waits for Entra only if no token lives.
    pub(super) async fn read(&self) -> RedisResult<BasicAuth> {
        let living = self.state().living(self.clock.now());
        let token = match living {
            Some(token) => Ok(token),
            None => self.replaced().await,
        };
        let token = token.map_err(|error| RedisError::from(std::io::Error::other(NoToken(error))))?;
        Ok(BasicAuth::new(token.object_id, token.token.expose().to_owned()))
    }

    /// Waits until the current token is due, or until a failed attempt may be repeated, and asks for another token.
    pub(super) async fn changed(&self) {
        let now = self.clock.now();
        let until = self.state().asked_at(now);
        let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        tokio::time::sleep(left.max(MIN_SLEEP)).await;
        // A failure is logged. The next read returns the token that still lives.
        let _ = self.replaced().await;
    }

    /// Returns the token that replaces the current one. The request to Entra has its own task: an attempt to connect has
    /// less time than Entra may need, and the next attempt uses the answer.
    async fn replaced(&self) -> Result<ApplicationToken, EntraError> {
        let this = self.clone();
        let task = tokio::spawn(async move { this.replace().await });
        task.await.unwrap_or(Err(EntraError::TimedOut))
    }

    /// Asks Entra for a token, unless another request has just brought one, or a failure.
    async fn replace(&self) -> Result<ApplicationToken, EntraError> {
        let _one_at_a_time = self.request.lock().await;
        if let Some(known) = self.state().known(self.clock.now()) {
            return known;
        }
        let answer = self.client.application_token(&self.scope).await;
        let mut state = self.state();
        match answer {
            Ok(token) => {
                if state.failure.take().is_some() {
                    tracing::info!("Entra issues tokens for the session store again");
                }
                state.token = Some(token.clone());
                Ok(token)
            }
            Err(error) => {
                let cause: &dyn std::error::Error = &error;
                if state.failure.is_none() {
                    tracing::warn!(
                        error = cause,
                        "Unable to get an Entra token for the session store; connections use the old token until it expires. Check the \
                         federated identity credential and egress to Entra"
                    );
                }
                let pause = SignedDuration::try_from(error.pause()).unwrap_or(SignedDuration::MAX);
                let now = self.clock.now();
                state.failure = Some(TokenFailure {
                    error: error.clone(),
                    until: now.checked_add(pause).unwrap_or(Timestamp::MAX),
                });
                state.living(now).ok_or(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, TokenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenState {
    /// The token or the failure that is used while Entra may not be asked.
    fn known(&self, now: Timestamp) -> Option<Result<ApplicationToken, EntraError>> {
        if now >= self.asked_at(now) {
            return None;
        }
        let failure = self.failure.as_ref().map(|failure| Err(failure.error.clone()));
        self.living(now).map(Ok).or(failure)
    }

    /// The time from which Entra may be asked: when the token is due, and the pause after a failure has ended.
    fn asked_at(&self, now: Timestamp) -> Timestamp {
        let due = self.token.as_ref().map_or(now, renewed_at);
        let repeated = self.failure.as_ref().map_or(now, |failure| failure.until);
        due.max(repeated)
    }

    /// The token, if it has not expired.
    fn living(&self, now: Timestamp) -> Option<ApplicationToken> {
        self.token.clone().filter(|token| now < token.expires_at)
    }
}

/// Time at which the token must be replaced.
fn renewed_at(token: &ApplicationToken) -> Timestamp {
    let life = token.expires_at.duration_since(token.asked_at);
    token
        .expires_at
        .checked_sub(life / RENEWED_PART)
        .unwrap_or(token.expires_at)
}
