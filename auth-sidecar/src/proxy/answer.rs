//! Forwards the server's answer to the client, or refuses one that clients must not see.

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode};
use behalf_contract::ServerKind;

use super::event_stream::WithLeadingComment;
use super::refusal::ProxyRefusal;
use super::server_session::{SESSION_ID, ServerSession};
use super::user_limits::Slot;
use super::{ProxyState, headers, stream};
use crate::services::Services;
use crate::sessions::OpenSession;
use crate::telemetry::security_event::SecurityEvent;
use crate::upstream::AnswerBody;

/// Forwards the server's answer, or refuses one that clients must not see.
pub(super) fn answer(
    state: &ProxyState,
    session: &OpenSession,
    server_session: &ServerSession,
    response: Response<AnswerBody>,
    is_tool_call: bool,
    slot: Slot,
) -> Result<Response<Body>, ProxyRefusal> {
    let status = response.status();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            // At this status clients would start a login, which does not help.
            state
                .services
                .metrics
                .security_event(SecurityEvent::ServerRefusal);
            tracing::error!(
                http.response.status_code = status.as_u16(),
                "The MCP server answered {status} to a request of the sidecar; read its log and check tokenExchange.injection"
            );
            Err(ProxyRefusal::ServerRefused)
        }
        StatusCode::SERVICE_UNAVAILABLE
            if is_built_in(&state.services) && is_invalid_client(response.headers()) =>
        {
            Err(ProxyRefusal::ClientAuthentication)
        }
        // Clients cannot reach addresses behind the sidecar, and MCP does not switch protocols.
        _ if status.is_redirection() || status.is_informational() => {
            tracing::error!(
                http.response.status_code = status.as_u16(),
                "The MCP server answered {status}, which is not MCP"
            );
            Err(ProxyRefusal::ServerFailed)
        }
        _ => {
            let (parts, body) = response.into_parts();
            let random = state.services.random.as_ref();
            let session_id = state
                .server_sessions
                .for_client(server_session, &parts.headers, session, random)
                .map_err(|error| {
                    tracing::error!("Refused an answer of the MCP server: {error}");
                    ProxyRefusal::ServerFailed
                })?;
            let is_event_stream = headers::is_event_stream(&parts.headers);
            // A client reopens a stream of notifications with a new access token. The answer to a call has the time
            // until the session ends.
            let end = if is_event_stream && !is_tool_call {
                session.expires_at
            } else {
                session.ends_at
            };
            let end = session.end_within(state.services.sessions.until(end));
            let body = if is_event_stream {
                stream::end_with_session(
                    WithLeadingComment::new(body, &parts.headers),
                    end,
                    is_event_stream,
                    slot,
                )
            } else {
                stream::end_with_session(body, end, is_event_stream, slot)
            };
            let mut passed = Response::new(body);
            *passed.status_mut() = status;
            *passed.headers_mut() = headers::to_client(&parts.headers);
            if let Some(id) = session_id {
                state.services.probe_results.server_is_stateful();
                passed.headers_mut().insert(SESSION_ID, id);
            }
            Ok(passed)
        }
    }
}

/// True for the server of this project, whose answers the sidecar obeys.
fn is_built_in(services: &Services) -> bool {
    services.config.access.server != ServerKind::Container
}

/// True when the server exchanges tokens itself, and Entra refused its client assertion.
fn is_invalid_client(headers: &HeaderMap) -> bool {
    let error = headers.get(behalf_contract::headers::ERROR);
    error.is_some_and(|error| error == behalf_contract::headers::INVALID_CLIENT)
}
