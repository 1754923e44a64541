//! Gets the user's tokens for one request: the user token, and the downstream token if the sidecar exchanges it.

use std::sync::Arc;

use behalf_contract::{ExchangePlace, Reauthenticate, ReauthenticateReason};
use behalf_entra::{EntraError, Exchanged, NextStep, Secret, TokenSet};
use tokio::time::Instant;

use super::ProxyState;
use super::exchange::Exchange;
use super::injection::{Plan, Token};
use super::refusal::Refusal;
use super::refused_tokens::Answers;
use super::sign_in_advice::{ASSERTION_REFUSED, RECENT};
use super::sign_in_required::sign_in_required;
use crate::sessions::{OpenSession, SignInAgain};
use crate::telemetry::traces;

/// The user token, and the downstream token if the plan needs it.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    user: Option<Arc<TokenSet>>,
    downstream: Option<Arc<TokenSet>>,
}

impl Tokens {
    /// Returns the token of this kind. `None` for a downstream token that the plan does not need.
    pub(super) fn get(&self, token: Token) -> Option<&Secret> {
        let set = match token {
            Token::User => &self.user,
            Token::Downstream => &self.downstream,
        };
        set.as_ref().map(|set| &set.access_token)
    }

    /// Gets the tokens that `plan` needs for the user of `session`.
    pub(super) async fn of(
        state: &ProxyState,
        session: &OpenSession,
        plan: Plan,
        is_tool_call: bool,
    ) -> Result<Self, Refusal> {
        // The user token is renewed even if the server gets no token: at the renewal Entra refuses a disabled user.
        let user = match state.services.sessions.user_token(session).await {
            Ok(user) => user,
            Err(error) => {
                let cause: &dyn std::error::Error = &error;
                tracing::debug!(error = cause, session.id = %session.id, "No token of the user");
                return Err(Refusal::from(error));
            }
        };
        if plan.sends_a_token() {
            state.refused_tokens.check(&user.access_token, is_tool_call)?;
        }
        match &state.exchange {
            Some(exchange) if plan.needs_exchange() => {
                // The old user token was replaced, so its downstream token is never needed again. The pointers are compared first,
                // because a comparison of secrets takes long.
                if !Arc::ptr_eq(&user, &session.tokens) && user.access_token != session.tokens.access_token {
                    exchange.on_behalf_of.forget(&session.tokens.access_token).await;
                }
                exchange.tokens(state, session, user, None).await
            }
            _ => Ok(Self {
                user: Some(user),
                ..Self::default()
            }),
        }
    }

    /// Returns other tokens for a second try after the server reports that one of these is refused. Returns
    /// `None` where another token does not help.
    pub(super) async fn replacement(
        &self,
        state: &ProxyState,
        session: &OpenSession,
        wanted: &Reauthenticate,
    ) -> Result<Option<Self>, Refusal> {
        let Some(user) = &self.user else { return Ok(None) };
        let exchange = state.exchange.as_ref().zip(self.downstream.as_ref());
        Ok(Some(match (wanted.reason, exchange) {
            (ReauthenticateReason::TokenRefused, Some((exchange, downstream))) => {
                exchange.forget_refused(state, session, user, downstream).await;
                exchange.tokens(state, session, Arc::clone(user), None).await?
            }
            // A challenge of the downstream API: Entra may issue a token that satisfies it, or require the
            // user.
            (ReauthenticateReason::InteractionRequired, Some((exchange, _))) if wanted.claims.is_some() => {
                let claims = wanted.claims.as_deref();
                exchange.tokens(state, session, Arc::clone(user), claims).await?
            }
            (ReauthenticateReason::UserTokenRefused, _)
                if session.has_record()
                    && state.services.config.token_exchange.at == ExchangePlace::Server =>
            {
                Self {
                    user: Some(
                        state
                            .services
                            .sessions
                            .renewed_user_token(session, &user.access_token)
                            .await?,
                    ),
                    ..Self::default()
                }
            }
            _ => return Ok(None),
        }))
    }

    /// Remembers the refusal that the client of these tokens gets, and drops the downstream token. After an
    /// outage both tokens stay as they are.
    pub(super) async fn remember_refusal(
        &self,
        state: &ProxyState,
        session: &OpenSession,
        answers: Answers,
        refusal: &Refusal,
    ) {
        let Some(user) = &self.user else { return };
        let remembered = state
            .refused_tokens
            .remember(&user.access_token, answers, refusal);
        if remembered {
            self.forget_downstream(state, session).await;
        }
    }

    /// Drops the downstream token, so that the next call exchanges again.
    pub(super) async fn forget_downstream(&self, state: &ProxyState, session: &OpenSession) {
        if let (Some(user), Some(exchange), Some(downstream)) =
            (&self.user, &state.exchange, &self.downstream)
        {
            exchange.forget_refused(state, session, user, downstream).await;
        }
    }
}

impl Exchange {
    /// Drops a downstream token that was refused, here and for the other replicas.
    async fn forget_refused(
        &self,
        state: &ProxyState,
        session: &OpenSession,
        user: &TokenSet,
        downstream: &TokenSet,
    ) {
        let refused = &downstream.access_token;
        let shared = state
            .services
            .sessions
            .shared_downstream(session, &user.access_token, &self.scope);
        // First where other replicas find it, so that a parallel call does not bring it back from there.
        shared.remove_refused(refused).await;
        self.on_behalf_of
            .forget_refused(&user.access_token, refused)
            .await;
    }

    /// Exchanges the user's token. If Entra no longer accepts it as assertion, renews it and exchanges once
    /// more.
    async fn tokens(
        &self,
        state: &ProxyState,
        session: &OpenSession,
        user: Arc<TokenSet>,
        claims: Option<&str>,
    ) -> Result<Tokens, Refusal> {
        let error = match self.exchange(state, session, &user, claims).await {
            Ok(tokens) => return Ok(tokens),
            Err(error) => error,
        };
        Box::pin(self.after_refusal(state, session, user, claims, error)).await
    }

    async fn after_refusal(
        &self,
        state: &ProxyState,
        session: &OpenSession,
        user: Arc<TokenSet>,
        claims: Option<&str>,
        error: EntraError,
    ) -> Result<Tokens, Refusal> {
        // Only the client can renew a token of Entra that it presented.
        let is_renewable = session.has_record()
            && error
                .refusal()
                .is_some_and(behalf_entra::Refusal::user_token_refused);
        let result = if is_renewable {
            tracing::info!(session.id = %session.id, "Entra refused a user's token as assertion, renewing it");
            self.exchange_renewed(state, session, &user, claims).await
        } else {
            Err(refused(state, session, &error).await)
        };
        if let Err(refusal) = &result {
            state
                .refused_tokens
                .remember(&user.access_token, Answers::All, refusal);
        }
        result
    }

    async fn exchange_renewed(
        &self,
        state: &ProxyState,
        session: &OpenSession,
        user: &TokenSet,
        claims: Option<&str>,
    ) -> Result<Tokens, Refusal> {
        let renewed = state
            .services
            .sessions
            .renewed_user_token(session, &user.access_token)
            .await?;
        match self.exchange(state, session, &renewed, claims).await {
            Ok(tokens) => Ok(tokens),
            Err(error) => {
                let refusal = refused(state, session, &error).await;
                state
                    .refused_tokens
                    .remember(&renewed.access_token, Answers::All, &refusal);
                Err(refusal)
            }
        }
    }

    async fn exchange(
        &self,
        state: &ProxyState,
        session: &OpenSession,
        user: &Arc<TokenSet>,
        claims: Option<&str>,
    ) -> Result<Tokens, EntraError> {
        let sign_ins = &state.services.sign_ins;
        let sessions = &state.services.sessions;
        let shared = || sessions.shared_downstream(session, &user.access_token, &self.scope);
        let began = Instant::now();
        match self
            .on_behalf_of
            .exchange(&user.access_token, claims, shared)
            .await
        {
            Ok(Exchanged { token, fresh }) => {
                if fresh {
                    sign_ins.exchange_succeeded();
                    traces::exchanged(began, None);
                }
                Ok(Tokens {
                    user: Some(Arc::clone(user)),
                    downstream: Some(token),
                })
            }
            Err(error) => {
                sign_ins.exchange_refused(&error);
                traces::exchanged(began, Some(&error));
                Err(error)
            }
        }
    }
}

/// Returns the refusal for the client after a failed exchange. Stores the requirements of Entra for the next login.
async fn refused(state: &ProxyState, session: &OpenSession, error: &EntraError) -> Refusal {
    let step = error.next_step();
    log(session, error, &step);
    let is_user_token_refused = error
        .refusal()
        .is_some_and(behalf_entra::Refusal::user_token_refused);
    match step {
        NextStep::SignInAgain { .. }
            if is_user_token_refused && state.services.sessions.signed_in_within(session, RECENT) =>
        {
            Refusal::Blocked(ASSERTION_REFUSED.to_owned())
        }
        NextStep::SignInAgain { claims, consent } => {
            sign_in_required(state, session, SignInAgain { claims, consent }).await
        }
        NextStep::Blocked => Refusal::Blocked(blocked_message(error)),
        NextStep::ClientAuthentication => Refusal::ClientAuthentication,
        NextStep::RetryLater { .. } => Refusal::Unavailable(Some(error.pause())),
        NextStep::OurBug => Refusal::Exchange,
    }
}

fn log(session: &OpenSession, error: &EntraError, step: &NextStep) {
    let (id, error): (_, &dyn std::error::Error) = (session.id, error);
    match step {
        NextStep::SignInAgain { .. } => {
            tracing::info!(error, session.id = %id, "Entra requires the user of session {id} to sign in again");
        }
        NextStep::Blocked => {
            tracing::warn!(error, session.id = %id, "Entra blocks the user of session {id}; a login does not help");
        }
        // The federation probe that follows logs the cause once for all users.
        NextStep::ClientAuthentication => {
            tracing::warn!(error, session.id = %id, "Entra refused this Pod's token as the application");
        }
        NextStep::RetryLater { .. } => {
            tracing::warn!(error, session.id = %id, "Unable to exchange a token for session {id} at the moment");
        }
        NextStep::OurBug => {
            tracing::error!(
                error,
                session.id = %id,
                "Entra rejected the form of the On-Behalf-Of request; check tokenExchange.scope"
            );
        }
    }
}

/// Adds the correlation id to the hint, which tells the user to give it to an administrator.
fn blocked_message(error: &EntraError) -> String {
    match error
        .refusal()
        .and_then(|refusal| refusal.correlation_id.as_deref())
    {
        Some(id) => format!("{} (correlation id {id})", error.hint()),
        None => error.hint().to_owned(),
    }
}

#[cfg(test)]
mod tests;
