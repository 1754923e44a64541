//! User and password for Redis from Entra: the object id of an application, and its token.

use std::sync::Arc;
use std::time::Duration;

use ::redis::auth::BasicAuth;
use ::redis::{RedisError, RedisResult};
use behalf_entra::{ApplicationToken, Clock, EntraClient, EntraError};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

/// A token is replaced when this part of its lifetime is left, as a divisor. Of an hour a quarter is left for the tries
/// during an outage of Entra.
const RENEWED_PART: i32 = 4;

/// Shortest sleep between two looks at the token.
const SHORTEST_SLEEP: Duration = Duration::from_millis(500);

/// Why there is no token. The next attempts wait for the end of the pause.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to get a token for the session store from Entra; check that the application trusts this ServiceAccount"
)]
struct NoToken(#[source] EntraError);

/// The token of the application for Redis. All connections share it, so that a reconnect asks Entra nothing.
#[derive(Clone)]
pub(super) struct EntraCredentials {
    client: EntraClient,
    scope: Arc<str>,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    token: Option<ApplicationToken>,
    failure: Option<Failure>,
}

/// The last failure to get a token. Entra is not asked again before `until`.
struct Failure {
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
        }
    }

    /// Returns user and password of this moment. They are valid.
    pub(super) async fn read(&self) -> RedisResult<BasicAuth> {
        // The attempt to connect has less time than Entra may need. The request continues for the next attempt.
        let this = self.clone();
        let token = tokio::spawn(async move { this.token().await });
        let token = token.await.unwrap_or(Err(EntraError::TimedOut));
        let token = token.map_err(|error| RedisError::from(std::io::Error::other(NoToken(error))))?;
        Ok(BasicAuth::new(token.object_id, token.token.expose().to_owned()))
    }

    /// Waits until a token must replace the current one, or until a failed attempt may be repeated.
    pub(super) async fn changed(&self) {
        let now = self.clock.now();
        let state = self.state.lock().await;
        let renewal = state.token.as_ref().map_or(now, renewed_at);
        let repeated = state.failure.as_ref().map_or(now, |failure| failure.until);
        drop(state);
        let left = Duration::try_from(renewal.max(repeated).duration_since(now)).unwrap_or_default();
        tokio::time::sleep(left.max(SHORTEST_SLEEP)).await;
    }

    async fn token(&self) -> Result<ApplicationToken, EntraError> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        if let Some(token) = &state.token
            && now < renewed_at(token)
        {
            return Ok(token.clone());
        }
        if let Some(failure) = &state.failure
            && now < failure.until
        {
            return state.living(now).ok_or_else(|| failure.error.clone());
        }
        match self.client.application_token(&self.scope).await {
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
                        "Unable to get a token for the session store from Entra"
                    );
                }
                let pause = SignedDuration::try_from(error.pause()).unwrap_or(SignedDuration::MAX);
                let now = self.clock.now();
                state.failure = Some(Failure {
                    error: error.clone(),
                    until: now.checked_add(pause).unwrap_or(Timestamp::MAX),
                });
                state.living(now).ok_or(error)
            }
        }
    }
}

impl State {
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
