//! Maps a failed request to Entra to the answer of a call.

use behalf_contract::{Reauthenticate, ReauthenticateReason};
use behalf_entra::{EntraError, NextStep};
use behalf_runtime::error_chain;

use super::refusal::HopRefusal;

/// How a call ends whose request to Entra failed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ExchangeFailure {
    /// The layer answers the sidecar.
    Refusal(HopRefusal),

    /// The tool answers with this sentence, because no login helps.
    Message(String),
}

impl ExchangeFailure {
    /// Classifies `error` by [`EntraError::next_step`], and logs it.
    pub(super) fn new(error: &EntraError) -> Self {
        let refusal = error.refusal();
        let correlation = refusal
            .and_then(|refusal| refusal.correlation_id.as_deref())
            .unwrap_or_default();
        let code = refusal.and_then(|refusal| refusal.codes.first());
        match error.next_step() {
            NextStep::SignInAgain { claims, consent } => {
                let interaction = claims.is_some()
                    || refusal.is_some_and(|refusal| refusal.error == "interaction_required");
                let reason = if interaction {
                    ReauthenticateReason::InteractionRequired
                } else if refusal.is_some_and(behalf_entra::Refusal::user_token_refused) {
                    ReauthenticateReason::UserTokenRefused
                } else {
                    ReauthenticateReason::GrantExpired
                };
                tracing::info!(
                    entra.error_code = code,
                    entra.correlation_id = correlation,
                    "Entra requires the user to sign in again"
                );
                Self::Refusal(HopRefusal::Reauthenticate(Reauthenticate {
                    reason,
                    claims,
                    consent,
                }))
            }
            NextStep::Blocked => {
                tracing::info!(
                    entra.error_code = code,
                    entra.correlation_id = correlation,
                    "Entra blocks the user's access to Azure DevOps"
                );
                let hint = error.hint().trim_end_matches('.');
                Self::Message(match correlation {
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
                    entra.error_code = code,
                    entra.correlation_id = correlation,
                    "Entra does not accept this server as the application. {fix}"
                );
                Self::Refusal(HopRefusal::ClientAuthentication)
            }
            NextStep::RetryLater { .. } => {
                tracing::warn!(
                    error = error_chain(error),
                    "Unable to exchange a token at the moment"
                );
                Self::Refusal(HopRefusal::RetryLater(Some(error.pause())))
            }
            NextStep::OurBug => {
                tracing::error!(
                    error = error_chain(error),
                    entra.error_code = code,
                    entra.correlation_id = correlation,
                    "Entra rejected the form of an exchange: report this as a defect"
                );
                Self::Refusal(HopRefusal::Bug)
            }
        }
    }
}
