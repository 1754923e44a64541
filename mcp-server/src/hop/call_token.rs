//! The token of one tool call, from the layer to the tool.

use std::sync::Arc;

use behalf_contract::{Reauthenticate, ReauthenticateReason};
use behalf_entra::{OnBehalfOf, Secret};

use super::exchange_failure::ExchangeFailure;
use super::late_refusal::LateRefusal;
use super::refusal::HopRefusal;
use super::traces;
use crate::token::{NoToken, UserKey, UserToken};

/// The request extension that carries the user's token to the tool. It has no `Debug`, so it is not logged.
#[derive(Clone)]
pub(crate) struct CallToken(pub(crate) Arc<dyn UserToken>);

/// Returns the refusal after Azure DevOps refused a token.
fn token_refused(claims: Option<String>) -> HopRefusal {
    let reason = match claims {
        Some(_) => ReauthenticateReason::InteractionRequired,
        None => ReauthenticateReason::TokenRefused,
    };
    HopRefusal::Reauthenticate(Reauthenticate {
        reason,
        claims,
        consent: false,
    })
}

/// Returns the sentence of a tool result that a late refusal replaces.
fn sign_in_again() -> NoToken {
    NoToken("the user has to sign in again".to_owned())
}

/// A downstream token that the sidecar obtained. Only the sidecar can renew it.
pub(super) struct DownstreamToken {
    pub(super) token: Secret,
    pub(super) late_refusal: Arc<LateRefusal>,
}

#[async_trait::async_trait]
impl UserToken for DownstreamToken {
    fn user(&self) -> UserKey {
        UserKey::of_unverified_token(&self.token)
    }

    async fn current(&self) -> Result<Secret, NoToken> {
        Ok(self.token.clone())
    }

    async fn renew(&self, claims: Option<&str>) -> Result<Secret, NoToken> {
        Err(self.give_up(claims.map(str::to_owned)))
    }

    fn give_up(&self, claims: Option<String>) -> NoToken {
        tracing::info!("Azure DevOps refused the token that the sidecar sent");
        self.late_refusal.set(token_refused(claims));
        sign_in_again()
    }
}

/// A downstream token that this server obtained On-Behalf-Of the user.
pub(super) struct ExchangedToken {
    pub(super) exchange: OnBehalfOf,
    pub(super) user: UserKey,
    pub(super) user_token: Secret,
    /// The first downstream token, or the reason why no login would bring one.
    pub(super) first: Result<Secret, NoToken>,
    pub(super) late_refusal: Arc<LateRefusal>,
}

#[async_trait::async_trait]
impl UserToken for ExchangedToken {
    fn user(&self) -> UserKey {
        self.user
    }

    async fn current(&self) -> Result<Secret, NoToken> {
        self.first.clone()
    }

    async fn renew(&self, claims: Option<&str>) -> Result<Secret, NoToken> {
        tracing::info!("Azure DevOps refused a token, exchanging once more");
        if let Ok(first) = &self.first {
            let user_token = self.user_token.digest();
            self.exchange.forget_refused(user_token, first).await;
        }
        match traces::exchange(&self.exchange, &self.user_token, claims).await {
            Ok(token) => Ok(token.access_token.clone()),
            Err(error) => Err(match ExchangeFailure::new(&error) {
                ExchangeFailure::Message(message) => NoToken(message),
                ExchangeFailure::Refusal(refusal) => {
                    self.late_refusal.set(refusal);
                    sign_in_again()
                }
            }),
        }
    }

    fn give_up(&self, claims: Option<String>) -> NoToken {
        tracing::info!("Azure DevOps refused a new token, too");
        self.late_refusal.set(token_refused(claims));
        sign_in_again()
    }
}
