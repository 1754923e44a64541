//! `/mcp`: forwards the requests of clients to the server, with the user's token in place of the access token.
//!
//! A request without a live session is refused. The body is parsed as far as needed and changed in at most one
//! place ([`token_argument`]). Only listed headers are forwarded ([`headers`]). [`injection`] decides which token the server
//! gets, and [`server_session`] which session of the server a request belongs to. Answers are streamed without
//! buffering ([`answer`](mod@answer)). When the client disconnects, the request to the server is cancelled. When the session
//! ends, its answers end ([`stream`]).

mod answer;
mod body;
mod body_error;
mod entra_bearer;
mod event_stream;
mod exchange;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
mod headers;
mod injection;
mod members;
mod method_label;
mod origin;
mod outgoing;
mod protocol_version;
mod reauthentication;
mod refusal;
mod refusal_response;
mod refused_tokens;
mod request_audit;
mod server_session;
mod sign_in_advice;
mod sign_in_required;
mod state;
mod stream;
mod token_argument;
mod token_exchange;
mod user_limits;

#[cfg(test)]
pub(crate) use self::exchange::CAPACITY as DOWNSTREAM_TOKENS;
pub use self::server_session::PREFIX as SESSION_ID_PREFIX;

use std::pin::pin;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use behalf_contract::endpoints;
use behalf_runtime::has_media_type;
use behalf_runtime::trace;

use self::answer::answer;
use self::body::{MAX_BODY_BYTES, Message};
use self::entra_bearer::EntraBearers;
use self::injection::Plan;
use self::method_label::label;
use self::origin::RequestOrigin;
use self::outgoing::Outgoing;
use self::reauthentication::{reauthenticate, replace, wanted};
use self::refusal::ProxyRefusal;
use self::refusal_response::RequestInfo;
use self::request_audit::RequestAudit;
use self::state::ProxyState;
use self::token_exchange::Tokens;
use self::user_limits::User;
use crate::access::Scopes;
use crate::limits::body_budget::Reservation;
use crate::oauth;
use crate::observe::user_answer;
use crate::services::Services;
use crate::sessions::{OpenSession, SessionError};
use crate::telemetry::request_cause::RequestCause;
use crate::telemetry::security_event::SecurityEvent;
use crate::telemetry::traces::McpTrace as _;

/// The paths of the MCP endpoint. Some clients add a slash.
pub(crate) const PATHS: [&str; 2] = [endpoints::MCP, endpoints::MCP_WITH_SLASH];

/// Answers the requests to [`PATHS`]. Clones share the state.
#[derive(Clone)]
pub(crate) struct McpEndpoint(Arc<ProxyState>);

impl McpEndpoint {
    pub(crate) fn new(services: Arc<Services>) -> Self {
        Self(Arc::new(ProxyState::new(services)))
    }

    /// Answers a request to `path`, one of [`PATHS`].
    pub(crate) async fn answer(self, path: &'static str, request: Request) -> Response<Body> {
        match &self.0.services.tracer {
            Some(tracer) => {
                let answer = |request| handle(&self.0, request);
                // Boxed, because the trace would make the future of a request without one larger.
                Box::pin(trace::traced(tracer, Some(path), request, answer)).await
            }
            None => handle(&self.0, request).await,
        }
    }
}

async fn handle(state: &ProxyState, request: Request) -> Response<Body> {
    let allowed = oauth::allowed_origin(&state.services, request.headers());
    let Ok(request_origin) = RequestOrigin::of(request.headers(), state.services.addresses.issuer(), allowed)
    else {
        state
            .services
            .metrics
            .security_event(SecurityEvent::ForeignOrigin);
        return refuse(state, &ProxyRefusal::ForeignOrigin, &RequestInfo::default());
    };
    let mut info = RequestInfo::default();
    let mut response = if request.method() == Method::OPTIONS {
        options(request.headers())
    } else {
        let address = (state.services.trusted_proxies).client(request.extensions(), request.headers());
        let cause = RequestCause::arrived(request.headers());
        let mut audit = RequestAudit::begin(cause, address);
        // Pinned here, because the future is large and would be copied into the scope.
        let forwarded = cause
            .scope(pin!(forward(state, request, &mut info, &mut audit)))
            .await;
        match forwarded {
            Ok(response) => {
                audit.answered(response.status());
                response
            }
            Err(refusal) => {
                let response = refuse(state, &refusal, &info);
                audit.refused(refusal.label(), response.status());
                response
            }
        }
    };
    request_origin.add_cors_headers(response.headers_mut());
    response
}

fn options(request: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, origin::METHODS);
    RequestOrigin::preflight(request, response.headers_mut());
    response
}

fn refuse(state: &ProxyState, refusal: &ProxyRefusal, info: &RequestInfo) -> Response<Body> {
    tracing::debug!(
        refusal.reason = refusal.label(),
        "Refused a request to /mcp: {refusal}"
    );
    state.services.metrics.refusal(refusal.label());
    if let Some(trace) = trace::current() {
        trace.refused(refusal.label());
    }
    if *refusal == ProxyRefusal::ClientAuthentication {
        state.services.federation_trigger.request();
    }
    refusal.answer(info, &state.services.challenger)
}

/// Forwards a request. The rare steps are boxed (`Box::pin`), because they would make the future of every request larger.
async fn forward(
    state: &ProxyState,
    request: Request,
    info: &mut RequestInfo,
    audit: &mut RequestAudit,
) -> Result<Response<Body>, ProxyRefusal> {
    let (parts, body) = request.into_parts();
    let has_body = match parts.method {
        Method::POST => true,
        Method::GET | Method::DELETE => false,
        _ => return Err(ProxyRefusal::Method),
    };
    if headers::has_reserved(&parts.headers) {
        state
            .services
            .metrics
            .security_event(SecurityEvent::ReservedHeader);
    }
    let session = authenticate(state, &parts.headers).await?;
    if let Some(trace) = trace::current() {
        trace.authenticated(&session.user);
    }
    audit.authenticated(&session);
    if let Some(bearers) = &state.entra_bearers {
        bearers.limit(&state.services, &session).await?;
    }
    let user = state.users.get(&session.user);
    let message = if has_body {
        let (message, reservations) =
            checked_message(state, &session, &user, &parts, body, info, audit).await?;
        Some((message, (reservations, user.clone())))
    } else {
        None
    };
    let read = message.as_ref().map(|(message, _)| message);
    let server_session = state.server_sessions.of_request(&parts.headers, read, &session)?;
    let label = label(&parts.method, read);

    let is_tool_call = message
        .as_ref()
        .is_some_and(|(message, _)| message.is_tool_call());
    let slot = if is_tool_call {
        user.acquire_call().await?
    } else {
        user.acquire_other(&parts.method)?
    };
    let exchange = &state.services.config.token_exchange;
    let server = &state.services.config.access.server;
    let plan = Plan::of(exchange.at, exchange.injection, is_tool_call);
    let mut tokens = Tokens::of(state, &session, plan, is_tool_call).await?;
    let mut outgoing = Outgoing::new(&parts, &server_session, message, plan, label);
    let mut response = outgoing.send(state, &session, &tokens).await?;
    // There is only one second try. If it is refused as well, the client gets that refusal.
    if outgoing.is_kept()
        && let Some(wanted) = wanted(server, &response)
        && let Some(replacement) = Box::pin(replace(state, &session, &tokens, &wanted)).await?
    {
        tracing::info!(
            session.id = %session.id,
            reauthenticate.reason = ?wanted.reason,
            "Sending {label} of session {} again with another token",
            session.id
        );
        tokens = replacement;
        response = Box::pin(outgoing.send(state, &session, &tokens)).await?;
    }
    let is_message_kept = outgoing.is_kept();
    drop(outgoing);
    if let Some(wanted) = wanted(server, &response) {
        return Err(Box::pin(reauthenticate(state, &session, &tokens, wanted, is_message_kept)).await);
    }
    let probe_results = &state.services.probe_results;
    let is_refused = matches!(
        response.status(),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    );
    if plan.sends_a_token() && is_refused {
        probe_results.user_refused();
    }
    let response = answer(state, &session, &server_session, response, is_tool_call, slot)?;
    Ok(match info.id() {
        Some(id) if plan.sends_a_token() && probe_results.awaits_user() => {
            user_answer::watch(response, id, probe_results)
        }
        _ => response,
    })
}

/// Reads the message of a request, and refuses one that the session may not send. Returns it with the memory that it takes.
async fn checked_message(
    state: &ProxyState,
    session: &OpenSession,
    user: &User,
    parts: &Parts,
    body: Body,
    info: &mut RequestInfo,
    audit: &mut RequestAudit,
) -> Result<(Message, [Reservation; 2]), ProxyRefusal> {
    let (bytes, reservations) = read_message(state, user, &parts.headers, body).await?;
    let message =
        Message::parse(bytes.clone()).inspect_err(|_| *info = RequestInfo::of_invalid_body(&bytes))?;
    *info = RequestInfo::of_message(&message, &parts.headers);
    if let Some(context) = message.trace() {
        audit.trace(context.trace_id());
    }
    if let Some(trace) = trace::current() {
        let tool = message.is_tool_call().then(|| message.name()).flatten();
        trace.message(label(&parts.method, Some(&message)), tool, message.trace());
    }
    if message.is_tool_call() {
        audit.tool_call(message.name().unwrap_or_default());
    }
    if !headers::agree(&parts.headers, &message) {
        state
            .services
            .metrics
            .security_event(SecurityEvent::HeaderBodyMismatch);
        return Err(ProxyRefusal::HeaderMismatch);
    }
    if message.is_tool_call() {
        let needed = state.services.access.needed(message.name().unwrap_or_default());
        if !session.scopes.contains(needed) {
            Box::pin(expect_step_up(state, session, needed)).await;
            return Err(ProxyRefusal::InsufficientScope(needed));
        }
    }
    Ok((message, reservations))
}

/// Prepares the session for the client's step-up. After a failure the client still gets the challenge, but the
/// TypeScript SDK cannot step up.
async fn expect_step_up(state: &ProxyState, session: &OpenSession, needed: Scopes) {
    if let Err(error) = state.services.sessions.expect_step_up(session, needed).await
        && !error.is_outage_of_store()
    {
        let cause: &dyn std::error::Error = &error;
        tracing::warn!(error = cause, session.id = %session.id, "Unable to prepare the step-up of a session: {error}");
    }
}

/// Opens the session of the client's access token, or of its token of Entra.
async fn authenticate(state: &ProxyState, headers: &HeaderMap) -> Result<Arc<OpenSession>, ProxyRefusal> {
    let token = headers::presented_token(headers).ok_or(ProxyRefusal::NoToken)?;
    if let Some(bearers) = &state.entra_bearers
        && EntraBearers::is_jwt(&token)
    {
        return Box::pin(bearers.open(&state.services, &token))
            .await
            .map(Arc::new);
    }
    let session = state.services.sessions.open(&token).await.map_err(|error| {
        match &error {
            SessionError::Invalid => state
                .services
                .metrics
                .security_event(SecurityEvent::InvalidAccessToken),
            other if other.is_outage_of_store() => {}
            other => {
                let cause: &dyn std::error::Error = other;
                tracing::warn!(error = cause, "Unable to open a session: {other}");
            }
        }
        ProxyRefusal::from(error)
    })?;
    if state.services.clients.denies(&session.client_id) {
        // After a failure the next call ends it.
        let end = state.services.sessions.end_denied(&token, &session.client_id);
        let _ = Box::pin(end).await;
        return Err(ProxyRefusal::InvalidToken);
    }
    Ok(session)
}

async fn read_message(
    state: &ProxyState,
    user: &User,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, [Reservation; 2]), ProxyRefusal> {
    let is_plain = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes() == b"identity");
    if !is_plain {
        return Err(ProxyRefusal::Compressed);
    }
    if !has_media_type(headers, "application/json") {
        return Err(ProxyRefusal::ContentType);
    }
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(ProxyRefusal::TooLarge);
    }
    Ok(state
        .services
        .message_memory
        .read(user.message_memory(), body, MAX_BODY_BYTES)
        .await?)
}
