//! Handles the server's demand for a new sign-in or another token (`X-Behalf-Reauthenticate`).

use axum::http::{Response, StatusCode};
use behalf_contract::{Reauthenticate, ReauthenticateReason, ServerKind};

use super::ProxyState;
use super::refusal::ProxyRefusal;
use super::refused_tokens::RefusalScope;
use super::sign_in_advice::{ASSERTION_REFUSED, RECENT, TOKEN_REFUSED};
use super::sign_in_required::sign_in_required;
use super::token_exchange::Tokens;
use crate::sessions::OpenSession;
use crate::upstream::AnswerBody;

/// Returns other tokens for the second try. If Entra refuses them, the refusal is remembered for the old tokens.
pub(super) async fn replace(
    state: &ProxyState,
    session: &OpenSession,
    tokens: &Tokens,
    wanted: &Reauthenticate,
) -> Result<Option<Tokens>, ProxyRefusal> {
    let replacement = tokens.replacement(state, session, wanted).await;
    if let Err(refusal) = &replacement {
        tokens
            .remember_refusal(state, session, refusal_scope_of(wanted), refusal)
            .await;
    }
    replacement
}

/// Returns the requests that the demand concerns. A claims challenge comes from the API behind one tool. Every other
/// demand comes from Entra and concerns all requests.
fn refusal_scope_of(wanted: &Reauthenticate) -> RefusalScope {
    if wanted.claims.is_some() {
        RefusalScope::ToolCalls
    } else {
        RefusalScope::All
    }
}

/// Reads the demand of the built-in server. Returns `None` if the answer contains no valid one. A server from another image
/// must not send users to Entra or replace tokens.
pub(super) fn wanted(server: &ServerKind, response: &Response<AnswerBody>) -> Option<Reauthenticate> {
    if *server == ServerKind::Container || response.status() != StatusCode::UNAUTHORIZED {
        return None;
    }
    let value = response.headers().get(behalf_contract::headers::REAUTHENTICATE)?;
    Reauthenticate::decode(value.as_bytes()).ok()
}

/// Handles a demand that remains after the second try. Returns the refusal for the client. `is_message_kept` is false for a
/// message that was too large to be kept for a second try.
pub(super) async fn reauthenticate(
    state: &ProxyState,
    session: &OpenSession,
    tokens: &Tokens,
    wanted: Reauthenticate,
    is_message_kept: bool,
) -> ProxyRefusal {
    tracing::info!(
        session.id = %session.id,
        reauthenticate.reason = ?wanted.reason,
        "The MCP server requires the user of session {} to sign in again",
        session.id
    );
    let scope = refusal_scope_of(&wanted);
    let advice = match wanted.reason {
        ReauthenticateReason::TokenRefused => Some(TOKEN_REFUSED),
        ReauthenticateReason::UserTokenRefused => Some(ASSERTION_REFUSED),
        ReauthenticateReason::InteractionRequired | ReauthenticateReason::GrantExpired => None,
    };
    let refusal = match advice {
        Some(advice) if state.services.sessions.signed_in_within(session, RECENT) => {
            ProxyRefusal::Blocked(advice.to_owned())
        }
        _ => sign_in_required(state, session, wanted.into()).await,
    };
    // A message that is too large for a second try is not sent again. The next call then gets another token.
    if is_message_kept || advice.is_none() {
        tokens.remember_refusal(state, session, scope, &refusal).await;
    } else {
        tokens.forget_downstream(state, session).await;
    }
    refusal
}
