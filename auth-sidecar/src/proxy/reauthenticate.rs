//! Demands of the server for the user or for another token (`X-Behalf-Reauthenticate`).

use axum::http::{Response, StatusCode};
use behalf_contract::{Reauthenticate, ReauthenticateReason};
use hyper::body::Incoming;

use super::ProxyState;
use super::recent_sign_in::{ASSERTION_REFUSED, RECENT, TOKEN_REFUSED};
use super::refusal::Refusal;
use super::refused_tokens::Answers;
use super::token_exchange::Tokens;
use crate::sessions::OpenSession;

/// Returns other tokens for a second try. A refusal of them is remembered for the refused ones, too.
pub(super) async fn replace(
    state: &ProxyState,
    session: &OpenSession,
    tokens: &Tokens,
    wanted: &Reauthenticate,
) -> Result<Option<Tokens>, Refusal> {
    let replacement = tokens.replacement(state, session, wanted).await;
    if let Err(refusal) = &replacement {
        tokens.remember_refusal(state, answers_of(wanted), refusal).await;
    }
    replacement
}

/// A claims challenge is of the API behind the tool that was called; every other demand is of Entra.
fn answers_of(wanted: &Reauthenticate) -> Answers {
    if wanted.claims.is_some() {
        Answers::ToolCalls
    } else {
        Answers::All
    }
}

/// Reads the server's demand for the user or for another token. `None` when no readable one exists.
pub(super) fn wanted(response: &Response<Incoming>) -> Option<Reauthenticate> {
    if response.status() != StatusCode::UNAUTHORIZED {
        return None;
    }
    let value = response.headers().get(behalf_contract::headers::REAUTHENTICATE)?;
    Reauthenticate::decode(value.as_bytes()).ok()
}

/// The server demands the user, and another token did not help.
pub(super) async fn reauthenticate(
    state: &ProxyState,
    session: &OpenSession,
    tokens: &Tokens,
    wanted: Reauthenticate,
    had_second_try: bool,
) -> Result<Refusal, Refusal> {
    tracing::info!(
        session.id = %session.id,
        reauthenticate.reason = ?wanted.reason,
        "The MCP server wants the user of session {} to sign in again",
        session.id
    );
    let answers = answers_of(&wanted);
    let advice = match wanted.reason {
        ReauthenticateReason::TokenRefused => Some(TOKEN_REFUSED),
        ReauthenticateReason::UserTokenRefused => Some(ASSERTION_REFUSED),
        ReauthenticateReason::InteractionRequired | ReauthenticateReason::GrantExpired => None,
    };
    let refusal = match advice {
        Some(advice) if state.services.sessions.signed_in_within(session, RECENT) => {
            Refusal::Blocked(advice.to_owned())
        }
        _ => {
            state.services.sessions.require_sign_in(session, wanted).await?;
            Refusal::SignInRequired
        }
    };
    // Of a message too large for a second try, the next call is the second try.
    if had_second_try || advice.is_none() {
        tokens.remember_refusal(state, answers, &refusal).await;
    } else {
        tokens.forget_downstream(state).await;
    }
    Ok(refusal)
}
