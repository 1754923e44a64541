//! The token of one call, and what became of it.

use std::sync::{Arc, OnceLock};

use behalf_contract::{Reauthenticate, ReauthenticateReason};
use behalf_entra::{EntraError, NextStep, OnBehalfOf, Secret};
use behalf_runtime::error_chain;

use super::refusal::Refusal;
use crate::token::{Refused, UserToken};

/// The request extension by which a tool gets its token. Its `Debug` shows nothing, it has none.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) token: Arc<dyn UserToken>,
}

/// Where the tool leaves what the sidecar must be told in place of the tool's answer.
#[derive(Debug, Default)]
pub(super) struct Slot(OnceLock<Refusal>);

impl Slot {
    /// The first finding stays.
    fn put(&self, refusal: Refusal) {
        let _ = self.0.set(refusal);
    }

    pub(super) fn get(&self) -> Option<Refusal> {
        self.0.get().cloned()
    }
}

/// What a failed exchange means for the call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
    /// An HTTP answer to the sidecar.
    Refusal(Refusal),

    /// A tool result: no login cures it.
    Message(String),
}

/// Decides by [`EntraError::next_step`], and logs what somebody must act on.
pub(super) fn meaning(error: &EntraError) -> Meaning {
    let refusal = error.refusal();
    let correlation = refusal
        .and_then(|refusal| refusal.correlation_id.as_deref())
        .unwrap_or_default();
    let codes = refusal.map(|refusal| refusal.codes.clone()).unwrap_or_default();
    match error.next_step() {
        NextStep::SignInAgain { claims, consent } => {
            let interaction =
                claims.is_some() || refusal.is_some_and(|refusal| refusal.error == "interaction_required");
            let reason = if interaction {
                ReauthenticateReason::InteractionRequired
            } else if refusal.is_some_and(behalf_entra::Refusal::user_token_refused) {
                ReauthenticateReason::UserTokenRefused
            } else {
                ReauthenticateReason::GrantExpired
            };
            tracing::info!(entra.error_codes = ?codes, entra.correlation_id = correlation, "Entra wants the user to sign in again");
            Meaning::Refusal(Refusal::Reauthenticate(Reauthenticate {
                reason,
                claims,
                consent,
            }))
        }
        NextStep::Blocked => {
            tracing::info!(entra.error_codes = ?codes, entra.correlation_id = correlation, "Entra does not let the user use Azure DevOps here");
            let hint = error.hint().trim_end_matches('.');
            Meaning::Message(match correlation {
                "" => hint.to_owned(),
                id => format!("{hint} (correlation id {id})"),
            })
        }
        NextStep::ClientAuthentication => {
            let fix = error
                .reason()
                .map(behalf_entra::FederationReason::fix)
                .unwrap_or_default();
            tracing::error!(
                error = error_chain(error),
                entra.error_codes = ?codes,
                entra.correlation_id = correlation,
                "Entra does not accept this server as the application. {fix}"
            );
            Meaning::Refusal(Refusal::ClientAuthentication)
        }
        NextStep::RetryLater { .. } => {
            tracing::warn!(
                error = error_chain(error),
                "Unable to exchange a token at the moment"
            );
            Meaning::Refusal(Refusal::RetryLater(Some(error.pause())))
        }
        NextStep::OurBug => {
            tracing::error!(
                error = error_chain(error),
                entra.error_codes = ?codes,
                entra.correlation_id = correlation,
                "Entra could not make sense of an exchange: report this as a defect"
            );
            Meaning::Refusal(Refusal::Bug)
        }
    }
}

/// The downstream API no longer takes a token.
fn refused(claims: Option<String>) -> Refusal {
    let reason = match claims {
        Some(_) => ReauthenticateReason::InteractionRequired,
        None => ReauthenticateReason::TokenRefused,
    };
    Refusal::Reauthenticate(Reauthenticate {
        reason,
        claims,
        consent: false,
    })
}

/// The sentence that nobody sees: the slot's answer takes its place.
fn sign_in_again() -> Refused {
    Refused("the user has to sign in again".to_owned())
}

/// A downstream token that the sidecar obtained. It is used as it is; a new one is the sidecar's business.
pub(super) struct Downstream {
    pub(super) token: Secret,
    pub(super) slot: Arc<Slot>,
}

#[async_trait::async_trait]
impl UserToken for Downstream {
    async fn current(&self) -> Result<Secret, Refused> {
        Ok(self.token.clone())
    }

    async fn renew(&self, claims: Option<&str>) -> Result<Secret, Refused> {
        Err(self.give_up(claims.map(str::to_owned)))
    }

    fn give_up(&self, claims: Option<String>) -> Refused {
        tracing::info!("Azure DevOps refused the token that the sidecar sent");
        self.slot.put(refused(claims));
        sign_in_again()
    }
}

/// A downstream token that this server obtained On-Behalf-Of the user.
pub(super) struct Exchanged {
    pub(super) exchange: OnBehalfOf,
    pub(super) user_token: Secret,
    /// The token, or why no login would bring one.
    pub(super) first: Result<Secret, Refused>,
    pub(super) slot: Arc<Slot>,
}

#[async_trait::async_trait]
impl UserToken for Exchanged {
    async fn current(&self) -> Result<Secret, Refused> {
        self.first.clone()
    }

    async fn renew(&self, claims: Option<&str>) -> Result<Secret, Refused> {
        tracing::info!("Azure DevOps refused a token, exchanging once more");
        if let Ok(first) = &self.first {
            self.exchange.forget_refused(&self.user_token, first).await;
        }
        match self.exchange.get(&self.user_token, claims).await {
            Ok(token) => Ok(token.access_token.clone()),
            Err(error) => Err(match meaning(&error) {
                Meaning::Message(message) => Refused(message),
                Meaning::Refusal(refusal) => {
                    self.slot.put(refusal);
                    sign_in_again()
                }
            }),
        }
    }

    fn give_up(&self, claims: Option<String>) -> Refused {
        tracing::info!("Azure DevOps refused a fresh token too");
        self.slot.put(refused(claims));
        sign_in_again()
    }
}
