//! Gets the user's tokens for one request: the user token, and the downstream token if the sidecar exchanges it.

use std::sync::Arc;

use behalf_contract::{ExchangePlace, Reauthenticate, ReauthenticateReason};
use behalf_entra::{EntraError, Exchanged, NextStep, Secret, TokenSet};
use tokio::time::Instant;

use super::ProxyState;
use super::exchange::Exchange;
use super::injection::{Plan, TokenKind};
use super::refusal::ProxyRefusal;
use super::refused_tokens::RefusalScope;
use super::sign_in_advice::{ASSERTION_REFUSED, RECENT};
use super::sign_in_required::sign_in_required;
use crate::sessions::{OpenSession, SessionError, SignInAgain};
use crate::telemetry::traces;
use crate::token_digest::TokenDigest;

/// The user token, and the downstream token if the plan needs it.
pub(super) struct Tokens {
    /// The digest of the user token.
    digest: TokenDigest,
    /// `None` for the session's own tokens if no step needed their text.
    user: Option<Arc<TokenSet>>,
    downstream: Option<Arc<TokenSet>>,
}

impl Tokens {
    /// Returns the token of this kind. `None` for one that the plan does not need.
    pub(super) fn get(&self, token: TokenKind) -> Option<&Secret> {
        let set = match token {
            TokenKind::User => &self.user,
            TokenKind::Downstream => &self.downstream,
        };
        set.as_ref().map(|set| &set.access_token)
    }

    /// Gets the tokens that `plan` needs for the user of `session`.
    pub(super) async fn of(
        state: &ProxyState,
        session: &OpenSession,
        plan: Plan,
        is_tool_call: bool,
    ) -> Result<Self, ProxyRefusal> {
        let sessions = &state.services.sessions;
        let no_token = |error: SessionError| {
            let cause: &dyn std::error::Error = &error;
            tracing::debug!(error = cause, session.id = %session.id, "No token of the user");
            ProxyRefusal::from(error)
        };
        // The user token is renewed even if the server gets no token: at the renewal Entra refuses a disabled user.
        let renewed = sessions.renewed_if_due(session).await.map_err(no_token)?;
        let own = session.tokens.digest();
        let digest = renewed.as_deref().map_or(*own, digest_of);
        if plan.sends_a_token() {
            state.refused_tokens.check(&digest, is_tool_call)?;
        }
        let exchange = state.exchange.as_ref().filter(|_| plan.needs_exchange());
        if let Some(exchange) = exchange {
            // The old user token was replaced, so its downstream token is never needed again.
            if digest != *own {
                exchange.on_behalf_of.forget(own.as_bytes()).await;
            }
            if let Some(downstream) = exchange.on_behalf_of.cached(digest.as_bytes()).await {
                return Ok(Self {
                    digest,
                    user: renewed,
                    downstream: Some(downstream),
                });
            }
        }
        if !plan.sends_a_token() {
            return Ok(Self {
                digest,
                user: renewed,
                downstream: None,
            });
        }
        let user = match renewed {
            Some(renewed) => renewed,
            None => sessions.tokens_of(session).map_err(no_token)?,
        };
        match exchange {
            Some(exchange) => exchange.tokens(state, session, user, None).await,
            None => Ok(Self::of_user(user)),
        }
    }

    fn of_user(user: Arc<TokenSet>) -> Self {
        Self {
            digest: digest_of(&user),
            user: Some(user),
            downstream: None,
        }
    }

    /// Returns other tokens for a second try after the server reports that one of these is refused. Returns
    /// `None` where another token does not help.
    pub(super) async fn replacement(
        &self,
        state: &ProxyState,
        session: &OpenSession,
        wanted: &Reauthenticate,
    ) -> Result<Option<Self>, ProxyRefusal> {
        let user = match &self.user {
            Some(user) => Arc::clone(user),
            None => state.services.sessions.tokens_of(session)?,
        };
        let exchange = state.exchange.as_ref().zip(self.downstream.as_ref());
        Ok(Some(match (wanted.reason, exchange) {
            (ReauthenticateReason::TokenRefused, Some((exchange, downstream))) => {
                exchange
                    .forget_refused(state, session, &self.digest, downstream)
                    .await;
                exchange.tokens(state, session, user, None).await?
            }
            // A challenge of the downstream API: Entra may issue a token that satisfies it, or require the
            // user.
            (ReauthenticateReason::InteractionRequired, Some((exchange, _))) if wanted.claims.is_some() => {
                let claims = wanted.claims.as_deref();
                exchange.tokens(state, session, user, claims).await?
            }
            (ReauthenticateReason::UserTokenRefused, _)
                if session.has_record()
                    && state.services.config.token_exchange.at == ExchangePlace::Server =>
            {
                let sessions = &state.services.sessions;
                Self::of_user(sessions.renewed_user_token(session, &user.access_token).await?)
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
        scope: RefusalScope,
        refusal: &ProxyRefusal,
    ) {
        let remembered = state.refused_tokens.remember(&self.digest, scope, refusal);
        if remembered {
            self.forget_downstream(state, session).await;
        }
    }

    /// Drops the downstream token, so that the next call exchanges again.
    pub(super) async fn forget_downstream(&self, state: &ProxyState, session: &OpenSession) {
        if let (Some(exchange), Some(downstream)) = (&state.exchange, &self.downstream) {
            exchange
                .forget_refused(state, session, &self.digest, downstream)
                .await;
        }
    }
}

impl Exchange {
    /// Drops a downstream token that was refused, here and for the other replicas.
    async fn forget_refused(
        &self,
        state: &ProxyState,
        session: &OpenSession,
        user: &TokenDigest,
        downstream: &TokenSet,
    ) {
        let refused = &downstream.access_token;
        let shared = (state.services.sessions).shared_downstream(session, user, &self.scope);
        // First where other replicas find it, so that a parallel call does not bring it back from there.
        shared.remove_refused(refused).await;
        self.on_behalf_of.forget_refused(user.as_bytes(), refused).await;
    }

    /// Exchanges the user's token. If Entra no longer accepts it as assertion, renews it and exchanges once
    /// more.
    async fn tokens(
        &self,
        state: &ProxyState,
        session: &OpenSession,
        user: Arc<TokenSet>,
        claims: Option<&str>,
    ) -> Result<Tokens, ProxyRefusal> {
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
    ) -> Result<Tokens, ProxyRefusal> {
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
                .remember(&digest_of(&user), RefusalScope::All, refusal);
        }
        result
    }

    async fn exchange_renewed(
        &self,
        state: &ProxyState,
        session: &OpenSession,
        user: &TokenSet,
        claims: Option<&str>,
    ) -> Result<Tokens, ProxyRefusal> {
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
                    .remember(&digest_of(&renewed), RefusalScope::All, &refusal);
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
        let digest = digest_of(user);
        let shared = || sessions.shared_downstream(session, &digest, &self.scope);
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
                    downstream: Some(token),
                    ..Tokens::of_user(Arc::clone(user))
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

fn digest_of(user: &TokenSet) -> TokenDigest {
    TokenDigest::of(&user.access_token)
}

/// Returns the refusal for the client after a failed exchange. Stores the requirements of Entra for the next login.
async fn refused(state: &ProxyState, session: &OpenSession, error: &EntraError) -> ProxyRefusal {
    let step = error.next_step();
    log(session, error, &step);
    let is_user_token_refused = error
        .refusal()
        .is_some_and(behalf_entra::Refusal::user_token_refused);
    match step {
        NextStep::SignInAgain { .. }
            if is_user_token_refused && state.services.sessions.signed_in_within(session, RECENT) =>
        {
            ProxyRefusal::Blocked(ASSERTION_REFUSED.to_owned())
        }
        NextStep::SignInAgain { claims, consent } => {
            sign_in_required(state, session, SignInAgain { claims, consent }).await
        }
        NextStep::Blocked => ProxyRefusal::Blocked(blocked_message(error)),
        NextStep::ClientAuthentication => ProxyRefusal::ClientAuthentication,
        NextStep::RetryLater { .. } => ProxyRefusal::Unavailable(Some(error.pause())),
        NextStep::OurBug => ProxyRefusal::Exchange,
    }
}

fn log(session: &OpenSession, error: &EntraError, step: &NextStep) {
    let (id, error): (_, &dyn std::error::Error) = (session.id, error);
    match step {
        NextStep::SignInAgain { .. } => {
            tracing::info!(error, session.id = %id, "Entra requires the user of session {id} to sign in again");
        }
        NextStep::Blocked => {
            tracing::info!(error, session.id = %id, "Entra blocks the user of session {id}; a login does not help");
        }
        // The federation probe that follows logs the cause once for all users.
        NextStep::ClientAuthentication => {
            tracing::warn!(
                error,
                session.id = %id,
                "Entra refused this Pod's token as the application; the federation probe reports the cause"
            );
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
