//! A request to the server. It is sent with the user's tokens, and at most once again with other tokens.

use std::any::Any;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use behalf_runtime::guarded_body;
use behalf_runtime::trace;
use tokio::time::Instant;

use super::ProxyState;
use super::body::Message;
use super::headers;
use super::injection::Plan;
use super::refusal::ProxyRefusal;
use super::server_session::ServerSession;
use super::token_exchange::Tokens;
use crate::sessions::OpenSession;
use crate::telemetry::security_event::SecurityEvent;
use crate::telemetry::traces;
use crate::upstream::{AnswerBody, UpstreamError};

/// Maximum size in bytes of a message that is kept until the server answers, so that it can be sent again. 16 calls
/// of one user keep at most 1 MiB of the memory for messages. A usual call has a few KiB.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// The memory reserved for a message. The last holder releases it.
type Memory = Arc<dyn Any + Send + Sync>;

/// A request without tokens.
pub(super) struct Outgoing<'a> {
    client: &'a Parts,
    server_session: &'a ServerSession,
    message: Option<(Message, Memory)>,
    plan: Plan,
    label: &'static str,
}

impl<'a> Outgoing<'a> {
    /// Creates a request with the headers of a client's request, and with a message and its reserved memory.
    pub(super) fn new<M: Send + Sync + 'static>(
        client: &'a Parts,
        server_session: &'a ServerSession,
        message: Option<(Message, M)>,
        plan: Plan,
        label: &'static str,
    ) -> Self {
        let message = message.map(|(message, memory)| -> (Message, Memory) { (message, Arc::new(memory)) });
        Self {
            client,
            server_session,
            message,
            plan,
            label,
        }
    }

    /// True when the message is still kept.
    pub(super) fn is_kept(&self) -> bool {
        self.message.is_some()
    }

    /// Sends the request with the tokens that the plan selects from `tokens`.
    pub(super) async fn send(
        &mut self,
        state: &ProxyState,
        session: &OpenSession,
        tokens: &Tokens,
    ) -> Result<Response<AnswerBody>, ProxyRefusal> {
        let is_tool_call = self
            .message
            .as_ref()
            .is_some_and(|(message, _)| message.is_tool_call());
        let mut request = self.request(state, tokens)?;
        let label = self.label;
        tracing::trace!(mcp.method = label, session.id = %session.id, "Forwarding {label}");
        let began = Instant::now();
        if session.has_ended() {
            return Err(ProxyRefusal::InvalidToken);
        }
        let mut span = trace::current().map(|trace| traces::to_server(&trace, &mut request));
        let sent = tokio::select! {
            biased;
            () = session.ended() => {
                return Err(if is_tool_call {
                    // The server may have run the call. The client cannot learn more than that.
                    ProxyRefusal::MayHaveRun
                } else {
                    ProxyRefusal::InvalidToken
                });
            }
            sent = state.services.upstream.send(request) => sent,
        };
        let response = sent.map_err(|error| {
            let cause: &dyn std::error::Error = &error;
            tracing::warn!(
                error = cause,
                mcp.method = label,
                "The MCP server did not answer {label}; read the log of container mcp-server"
            );
            let refusal = match error {
                UpstreamError::Connect(_) => ProxyRefusal::ServerAbsent,
                UpstreamError::Broken(_) => ProxyRefusal::ServerFailed,
            };
            if let Some(span) = &mut span {
                span.fail(refusal.label());
            }
            refusal
        })?;
        if let Some(mut span) = span {
            span.answered(response.status());
        }
        state
            .services
            .metrics
            .call(label, response.status().as_u16(), began.elapsed().as_secs_f64());
        Ok(response)
    }

    fn request(&mut self, state: &ProxyState, tokens: &Tokens) -> Result<Request, ProxyRefusal> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = self.client.method.clone();
        *request.headers_mut() = headers::to_server(&self.client.headers, self.server_session);
        if let Some((message, memory)) = &self.message {
            let edited = message.edit(self.plan.argument.and_then(|token| tokens.get(token)));
            if edited.dropped {
                state
                    .services
                    .metrics
                    .security_event(SecurityEvent::ReservedArgument);
            }
            request.headers_mut().insert(CONTENT_TYPE, headers::JSON);
            *request.body_mut() = guarded_body(Body::from(edited.body), Arc::clone(memory));
            if message.size() > MAX_KEPT_BYTES {
                self.message = None;
            }
        }
        if let Some(token) = self.plan.header.and_then(|token| tokens.get(token)) {
            let value = headers::bearer(token).ok_or(ProxyRefusal::Exchange)?;
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }
}
