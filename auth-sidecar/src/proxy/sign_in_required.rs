//! The refusal of a request whose user must sign in again.

use super::ProxyState;
use super::refusal::Refusal;
use super::sign_in_advice::{CONSENT_MISSING, NEW_TOKEN_NEEDED, RECENT};
use crate::sessions::{OpenSession, SignInAgain};

/// Stores Entra's demand for the next login of the user, and returns the refusal for the client.
///
/// A client that presented a token of Entra has no login here. It gets the claims itself. Without claims it gets 401, so that
/// it presents a newer token, unless a newer token does not help: then the user gets a message.
pub(super) async fn sign_in_required(
    state: &ProxyState,
    session: &OpenSession,
    again: SignInAgain,
) -> Result<Refusal, Refusal> {
    if session.has_record() {
        state.services.sessions.require_sign_in(session, again).await?;
        return Ok(Refusal::SignInRequired);
    }
    let is_new = state.services.sessions.signed_in_within(session, RECENT);
    Ok(match again.claims {
        Some(claims) => Refusal::InsufficientClaims(claims),
        None if again.consent => Refusal::Blocked(CONSENT_MISSING.to_owned()),
        None if is_new => Refusal::Blocked(NEW_TOKEN_NEEDED.to_owned()),
        None => Refusal::SignInRequired,
    })
}
