//! The refusal of a request whose user must sign in again.

use super::ProxyState;
use super::refusal::ProxyRefusal;
use super::sign_in_advice::{CONSENT_MISSING, NEW_TOKEN_NEEDED, RECENT};
use crate::sessions::{OpenSession, SignInAgain};

/// Stores Entra's demand for the next login of the user, and returns the refusal for the client. If it cannot be stored, the
/// refusal says so.
///
/// A client that presented a token of Entra has no login here. It gets the claims itself. Without claims it gets 401, so that
/// it presents a newer token, unless a newer token does not help: then the user gets a message.
pub(super) async fn sign_in_required(
    state: &ProxyState,
    session: &OpenSession,
    again: SignInAgain,
) -> ProxyRefusal {
    let sessions = &state.services.sessions;
    if session.has_record() {
        return match sessions.require_sign_in(session, again).await {
            Ok(()) => ProxyRefusal::SignInRequired,
            Err(error) => error.into(),
        };
    }
    let is_new = sessions.signed_in_within(session, RECENT);
    match again.claims {
        Some(claims) => ProxyRefusal::InsufficientClaims(claims),
        None if again.consent => ProxyRefusal::Blocked(CONSENT_MISSING.to_owned()),
        None if is_new => ProxyRefusal::Blocked(NEW_TOKEN_NEEDED.to_owned()),
        None => ProxyRefusal::SignInRequired,
    }
}
