//! The user's tokens for one request.

use std::sync::Arc;
use std::time::Duration;

use behalf_contract::TokenExchange;
use behalf_entra::{EntraClient, EntraError, Exchanged, NextStep, OnBehalfOf, Secret, TokenSet};
use moka::future::Cache;
use sha2::{Digest as _, Sha256};

use super::injection::{Plan, Token};
use super::refusal::Refusal;
use crate::sessions::{OpenSession, SignInAgain};
use crate::state::AppState;

/// Downstream tokens that are kept at most: a few KiB each.
const CAPACITY: u64 = 4096;

/// A refusal of Entra stands for so long: a client that ignores it must not make requests (AADSTS50196). A
/// new login brings another token, which is asked for anew.
const REFUSED_FOR: Duration = Duration::from_mins(1);

/// The exchange in the sidecar, with what Entra answered lately.
#[derive(Clone)]
pub(super) struct Exchange {
    on_behalf_of: OnBehalfOf,
    refused: Cache<[u8; 32], Refusal>,
}

/// The user's own token, and what a plan needs beside it.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    user: Option<Arc<TokenSet>>,
    downstream: Option<Arc<TokenSet>>,
}

impl Tokens {
    /// The token; the downstream one only if the plan needed it.
    pub(super) fn get(&self, token: Token) -> Option<&Secret> {
        let set = match token {
            Token::User => &self.user,
            Token::Downstream => &self.downstream,
        };
        set.as_ref().map(|set| &set.access_token)
    }

    /// The user's own token.
    pub(super) fn user(&self) -> Option<&Secret> {
        self.get(Token::User)
    }

    /// Gets what `plan` needs for the user of `session`.
    pub(super) async fn of(state: &AppState, session: &OpenSession, plan: Plan) -> Result<Self, Refusal> {
        let mut tokens = Self::default();
        // Also when the server gets none: its renewal is where Entra says that the user may no longer come.
        let user = match state.sessions.user_token(session).await {
            Ok(user) => user,
            Err(error) => {
                let cause: &dyn std::error::Error = &error;
                tracing::debug!(error = cause, session.id = %session.id, "No token of the user");
                return Err(Refusal::from(error));
            }
        };
        if plan.needs_exchange()
            && let Some(exchange) = &state.proxy.exchange
        {
            tokens.downstream = Some(exchange.downstream(state, session, &user.access_token).await?);
        }
        tokens.user = Some(user);
        Ok(tokens)
    }
}

impl Exchange {
    /// `None` when the configuration has nothing to exchange here.
    pub(super) fn new(exchange: &TokenExchange, entra: EntraClient) -> Option<Self> {
        if !exchange.in_sidecar() {
            return None;
        }
        let scope = exchange.scope.as_deref()?;
        Some(Self {
            on_behalf_of: OnBehalfOf::new(entra, scope, CAPACITY),
            refused: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(REFUSED_FOR)
                .build(),
        })
    }

    /// Forgets the downstream token: the downstream API no longer takes it.
    pub(super) async fn forget(&self, user_token: &Secret) {
        self.on_behalf_of.forget(user_token).await;
    }

    async fn downstream(
        &self,
        state: &AppState,
        session: &OpenSession,
        user_token: &Secret,
    ) -> Result<Arc<TokenSet>, Refusal> {
        let key: [u8; 32] = Sha256::digest(user_token.expose()).into();
        if let Some(refusal) = self.refused.get(&key).await {
            return Err(refusal);
        }
        let sign_ins = state.server.sign_ins();
        let error = match self.on_behalf_of.exchange(user_token, None).await {
            Ok(Exchanged { token, fresh }) => {
                if fresh {
                    sign_ins.exchange_succeeded();
                }
                return Ok(token);
            }
            Err(error) => error,
        };
        sign_ins.exchange_refused(&error);
        let refusal = refused(state, session, &error).await?;
        if matches!(refusal, Refusal::SignInRequired | Refusal::Blocked(_)) {
            self.refused.insert(key, refusal.clone()).await;
        }
        Err(refusal)
    }
}

/// What an error of the exchange means for the client. The session keeps what the next login needs to know.
async fn refused(state: &AppState, session: &OpenSession, error: &EntraError) -> Result<Refusal, Refusal> {
    let step = error.next_step();
    log(session, error, &step);
    match step {
        NextStep::SignInAgain { claims, consent } => {
            state
                .sessions
                .require_sign_in(session, SignInAgain { claims, consent })
                .await?;
            Ok(Refusal::SignInRequired)
        }
        NextStep::Blocked => Ok(Refusal::Blocked(blocked_message(error))),
        NextStep::ClientAuthentication => Ok(Refusal::ClientAuthentication),
        NextStep::RetryLater { after } => Ok(Refusal::Unavailable(after)),
        NextStep::OurBug => Ok(Refusal::Exchange),
    }
}

fn log(session: &OpenSession, error: &EntraError, step: &NextStep) {
    let (id, error): (_, &dyn std::error::Error) = (session.id, error);
    match step {
        NextStep::SignInAgain { .. } => {
            tracing::info!(error, session.id = %id, "Entra wants the user of session {id} to sign in again");
        }
        NextStep::Blocked => {
            tracing::warn!(error, session.id = %id, "Entra blocks the user of session {id}; a login does not cure it");
        }
        // The probe that follows says what is wrong, once for all users.
        NextStep::ClientAuthentication => {
            tracing::warn!(error, session.id = %id, "Entra did not take this Pod's token as the application");
        }
        NextStep::RetryLater { .. } => {
            tracing::warn!(error, session.id = %id, "Unable to exchange a token for session {id} at the moment");
        }
        NextStep::OurBug => {
            tracing::error!(
                error,
                session.id = %id,
                "Entra could not make sense of the On-Behalf-Of request; check tokenExchange.scope"
            );
        }
    }
}

/// The hint sends the person to an administrator with the correlation id; so the id has to be there.
fn blocked_message(error: &EntraError) -> String {
    match error
        .refusal()
        .and_then(|refusal| refusal.correlation_id.as_deref())
    {
        Some(id) => format!("{} (correlation id {id})", error.hint()),
        None => error.hint().to_owned(),
    }
}
