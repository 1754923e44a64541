//! The layer in front of the MCP server: admits a request or refuses it, and replaces the answer if needed.

use std::sync::Arc;

use axum::body::{Body as HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use behalf_contract::RequestId;
use behalf_contract::headers::{HOST_KEY, RESERVED_PREFIX};
use behalf_entra::Secret;
use behalf_runtime::trace::{self, Caller};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::capacity::{Capacity, Reservation};
use super::host_key::HostKey;
use super::incoming_token::{IncomingToken, from_authorization, single};
use super::late_refusal::LateRefusal;
use super::message::{MAX_BODY_BYTES, Message};
use super::refusal::{HopRefusal, Refused};

/// The inner hop of a Pod.
#[derive(Debug)]
pub struct Hop {
    host_key: HostKey,
    incoming_token: IncomingToken,
    capacity: Capacity,
}

/// A request that the layer passes on.
struct Admitted {
    request: Request,
    /// The id of the message, if it has one.
    id: Option<RequestId>,
    late_refusal: Arc<LateRefusal>,
    /// Held until the request is answered.
    _reservation: Reservation,
}

/// The layer of a Pod, as a function. Every request passes it.
pub(crate) async fn guard(State(hop): State<Arc<Hop>>, request: Request, next: Next) -> Response {
    let admitted = match hop.admit(request).await {
        Ok(admitted) => admitted,
        Err(refused) => return refused.answer(),
    };
    let is_message = admitted.request.method() == Method::POST;
    let response = next.run(admitted.request).await;
    // Answers are whole messages, so no byte of this one has been sent.
    match admitted.late_refusal.get() {
        Some(refusal) => refusal.answer(admitted.id.as_ref()),
        None if is_message => as_json_rpc(response, admitted.id.as_ref()),
        None => response,
    }
}

/// The layer of a server without a sidecar. It only checks messages.
pub(crate) async fn check_message(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match read(body).await {
        Ok(message) => {
            let id = message.id.clone();
            as_json_rpc(next.run(with_message(parts, message)).await, id.as_ref())
        }
        Err(refused) => refused.answer(),
    }
}

/// Replaces an error that the MCP library answers as text: a wrong `Content-Type`, `Accept`, `Host` or `Origin`.
fn as_json_rpc(response: Response, id: Option<&RequestId>) -> Response {
    let status = response.status();
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if (status.is_client_error() || status.is_server_error()) && !is_json {
        HopRefusal::Library(status).answer(id)
    } else {
        response
    }
}

impl Hop {
    /// Creates the layer that admits requests with `host_key`.
    pub fn new(host_key: HostKey, incoming_token: IncomingToken) -> Self {
        Self {
            host_key,
            incoming_token,
            capacity: Capacity::default(),
        }
    }

    async fn admit(&self, request: Request) -> Result<Admitted, Refused> {
        let (mut parts, body) = request.into_parts();
        let authorization = self.check_head(&mut parts)?;
        let trace = trace::current();
        if let Some(trace) = &trace {
            // The sidecar vouches for the caller. Its own requests have no user.
            trace.caller(Caller::user(&()));
        }
        if parts.method != Method::POST {
            // This server has no streams and no sessions. The MCP library answers 405.
            return Ok(Admitted {
                request: Request::from_parts(parts, HttpBody::empty()),
                id: None,
                late_refusal: Arc::default(),
                _reservation: Reservation::default(),
            });
        }
        let message = read(body).await?;
        if let Some(trace) = trace {
            trace.name(message.label());
            trace.set("mcp.method.name", message.label());
            parts.extensions.insert(trace);
        }
        let id = message.id.clone();
        self.admit_message(parts, message, authorization)
            .await
            .map_err(|refusal| Refused { refusal, id })
    }

    /// Checks the host key and the encoding of the body, and removes the credentials from the headers. Returns the token of
    /// `Authorization`.
    fn check_head(&self, parts: &mut Parts) -> Result<Option<Secret>, HopRefusal> {
        let presented = single(&parts.headers, &HeaderName::from_static(HOST_KEY))
            .ok()
            .flatten();
        if !presented.is_some_and(|key| self.host_key.admits(key.as_bytes())) {
            return Err(HopRefusal::HostKey);
        }
        let authorization = from_authorization(&parts.headers)?;
        remove_credentials(&mut parts.headers);
        let encoding = parts.headers.get(CONTENT_ENCODING);
        if parts.method == Method::POST && encoding.is_some_and(|encoding| encoding != "identity") {
            return Err(HopRefusal::Compressed);
        }
        Ok(authorization)
    }

    async fn admit_message(
        &self,
        mut parts: Parts,
        message: Message,
        authorization: Option<Secret>,
    ) -> Result<Admitted, HopRefusal> {
        // Reserved before the token is checked, because the check may send a request to Entra.
        let reservation = self.capacity.reserve(&message)?;
        let late_refusal = Arc::new(LateRefusal::default());
        let token = self
            .incoming_token
            .for_call(authorization, &message, &parts.headers, &late_refusal)
            .await?;
        if let Some(token) = token {
            if let Some(trace) = trace::current() {
                trace.caller(Caller::user(&token.0.user()));
            }
            parts.extensions.insert(token);
        }
        // Only size and kind: the client chooses names and arguments.
        tracing::trace!(
            message.size_bytes = message.bytes.len(),
            mcp.tool_call = message.is_tool_call(),
            "Admitted a message on the inner hop"
        );
        Ok(Admitted {
            id: message.id.clone(),
            request: with_message(parts, message),
            late_refusal,
            _reservation: reservation,
        })
    }
}

/// Removes the credentials, which no code behind the layer needs. Removes `Origin`, too: the sidecar has checked
/// it, and a browser cannot send the host key.
fn remove_credentials(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, COOKIE, ORIGIN] {
        headers.remove(name);
    }
    let reserved: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(RESERVED_PREFIX))
        .cloned()
        .collect();
    for name in reserved {
        headers.remove(name);
    }
}

/// Reads and checks the message in `body`.
async fn read(body: HttpBody) -> Result<Message, Refused> {
    let bytes = to_bytes(body, MAX_BODY_BYTES).await.map_err(|error| {
        // `axum` reports the limit as a cause of its error, which has no kinds.
        let mut causes = std::iter::successors(std::error::Error::source(&error), |cause| (**cause).source());
        if causes.any(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>) {
            HopRefusal::TooLarge(MAX_BODY_BYTES)
        } else {
            HopRefusal::Unreadable
        }
    })?;
    Message::read(&bytes).map_err(|error| Refused {
        refusal: error.into(),
        id: RequestId::of_refused(&bytes),
    })
}

/// Builds the request with the checked message as its body.
fn with_message(mut parts: Parts, message: Message) -> Request {
    let length = HeaderValue::from(message.bytes.len());
    parts.headers.insert(CONTENT_LENGTH, length);
    Request::from_parts(parts, HttpBody::from(message.bytes))
}
