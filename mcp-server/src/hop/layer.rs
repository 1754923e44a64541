//! The layer itself.

use std::sync::Arc;

use axum::body::{Body as HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use behalf_contract::RequestId;
use behalf_contract::headers::{HOST_KEY, RESERVED_PREFIX};
use behalf_entra::{OnBehalfOf, Secret, TokenRejection, TokenValidator};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, COOKIE, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::caller::{Caller, Downstream, Exchanged, Meaning, Slot, meaning};
use super::host_key::HostKey;
use super::message::{Bearer, Message};
use super::refusal::Refusal;
use super::room::{Place, Room};
use crate::token::{Refused, UserToken};

/// Twice what the parameters of a pipeline may hold, and as much as the MCP library reads.
pub(crate) const LARGEST_BODY: usize = 256 * 1024;

/// Longer than any token of Entra.
const LONGEST_TOKEN: usize = 64 * 1024;

/// The first revision in which an unknown method is 404.
const MODERN: &str = "2026-07-28";

/// How the token arrives, and what it is.
#[derive(Debug)]
pub enum Arrival {
    /// The sidecar did the exchange: the token is for Azure DevOps and used as it is.
    Downstream {
        /// It travels as `bearerToken`, and there is no `Authorization`.
        argument: bool,
    },

    /// The token is the user's for this application; it is validated and exchanged here.
    User {
        /// It travels as `bearerToken` too, which must be the same.
        argument: bool,

        /// Validates it.
        validator: Box<TokenValidator>,

        /// Exchanges it.
        exchange: Box<OnBehalfOf>,
    },
}

/// The inner hop of a Pod.
#[derive(Debug)]
pub struct Hop {
    host_key: HostKey,
    arrival: Arrival,
    room: Room,
}

/// A request that may go on, and where its finding will be.
struct Admitted {
    request: Request,
    slot: Arc<Slot>,
    /// What it takes until it is answered.
    place: Place,
}

/// The layer, as a function: every request passes it.
pub(crate) async fn guard(State(hop): State<Arc<Hop>>, request: Request, next: Next) -> Response {
    let mut id = None;
    let Admitted {
        request,
        slot,
        place: _place,
    } = match hop.admit(request, &mut id).await {
        Ok(admitted) => admitted,
        Err(refusal) => {
            tracing::debug!("Refused a request on the inner hop: {refusal}");
            return refusal.answer(id.as_ref());
        }
    };
    let response = next.run(request).await;
    // Answers are whole messages, so nothing of this one has left yet.
    match slot.get() {
        Some(refusal) => refusal.answer(id.as_ref()),
        None => response,
    }
}

/// The layer of a server without a sidecar. It checks the message and nothing else.
pub(crate) async fn check_message(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let mut id = None;
    let (parts, body) = request.into_parts();
    match read(body, &mut id).await {
        Ok((message, _)) => next.run(with_message(parts, message)).await,
        Err(refusal) => {
            tracing::debug!("Refused a request: {refusal}");
            refusal.answer(id.as_ref())
        }
    }
}

impl Hop {
    /// Admits requests that carry `host_key`.
    pub fn new(host_key: HostKey, arrival: Arrival) -> Self {
        Self {
            host_key,
            arrival,
            room: Room::default(),
        }
    }

    /// Sets `id` to the id of the message, also if the request is refused.
    async fn admit(&self, request: Request, id: &mut Option<RequestId>) -> Result<Admitted, Refusal> {
        let (mut parts, body) = request.into_parts();
        let presented = single(&parts.headers, &HeaderName::from_static(HOST_KEY))
            .ok()
            .flatten();
        if !presented.is_some_and(|key| self.host_key.admits(key.as_bytes())) {
            return Err(Refusal::HostKey);
        }
        let authorization = bearer(&parts.headers)?;
        remove_credentials(&mut parts.headers);
        let slot = Arc::new(Slot::default());
        if parts.method != Method::POST {
            // There are no streams to open and no sessions to end: the MCP library says so.
            return Ok(Admitted {
                request: Request::from_parts(parts, HttpBody::empty()),
                slot,
                place: Place::default(),
            });
        }
        if parts
            .headers
            .get(CONTENT_ENCODING)
            .is_some_and(|encoding| encoding != "identity")
        {
            return Err(Refusal::Compressed);
        }
        let (message, length) = read(body, id).await?;
        let memory = self.room.memory(&message, length)?;
        let call = self.room.call(&message)?;
        if let Some(caller) = self
            .caller(authorization, &message, &parts.headers, &slot)
            .await?
        {
            parts.extensions.insert(caller);
        }
        // Size and kind only: names and arguments are the client's own words.
        tracing::trace!(
            message.size_bytes = message.bytes.len(),
            mcp.tool_call = message.is_tool_call(),
            "Admitted a message on the inner hop"
        );
        Ok(Admitted {
            request: with_message(parts, message),
            slot,
            place: Place::of(memory, call),
        })
    }

    /// The caller of a tool; nobody, where none is needed.
    async fn caller(
        &self,
        authorization: Option<Secret>,
        message: &Message,
        headers: &HeaderMap,
        slot: &Arc<Slot>,
    ) -> Result<Option<Caller>, Refusal> {
        match &self.arrival {
            Arrival::Downstream { argument: true } => {
                let Some(token) = from_argument(message)? else {
                    return permit_without_token_in_argument(message, headers);
                };
                Ok(downstream(token, message, slot))
            }
            Arrival::Downstream { argument: false } => match authorization {
                Some(token) => Ok(downstream(token, message, slot)),
                None => permit_without_token(message),
            },
            Arrival::User {
                argument,
                validator,
                exchange,
            } => {
                let Some(token) = authorization else {
                    return permit_without_token(message);
                };
                validate(validator, &token).await?;
                if !message.is_tool_call() {
                    return Ok(None);
                }
                if *argument && from_argument(message)?.as_ref() != Some(&token) {
                    return Err(Refusal::TokenShape(
                        "bearerToken must be the token of Authorization",
                    ));
                }
                Ok(Some(exchanged(exchange, token, slot).await?))
            }
        }
    }
}

fn permit_without_token(message: &Message) -> Result<Option<Caller>, Refusal> {
    if message.needs_no_token() {
        Ok(None)
    } else {
        Err(Refusal::NoToken)
    }
}

/// Where only tool calls carry a token, a user's other requests look like the probe's. None of them does
/// anything here, so they are answered as methods that do not exist.
fn permit_without_token_in_argument(
    message: &Message,
    headers: &HeaderMap,
) -> Result<Option<Caller>, Refusal> {
    if message.needs_no_token() {
        return Ok(None);
    }
    if message.is_tool_call() {
        return Err(Refusal::NoToken);
    }
    let version = headers
        .get("mcp-protocol-version")
        .and_then(|version| version.to_str().ok());
    // Revisions are dates, so they compare as text.
    let modern = version.is_some_and(|version| version >= MODERN);
    Err(Refusal::NoSuchMethod { modern })
}

/// The token of a tool call's argument.
fn from_argument(message: &Message) -> Result<Option<Secret>, Refusal> {
    match &message.bearer {
        Bearer::Token(token) if message.is_tool_call() && is_token(token.expose()) => Ok(Some(token.clone())),
        Bearer::Absent => Ok(None),
        _ if !message.is_tool_call() => Ok(None),
        _ => Err(Refusal::TokenShape("bearerToken is no token")),
    }
}

fn downstream(token: Secret, message: &Message, slot: &Arc<Slot>) -> Option<Caller> {
    if !message.is_tool_call() {
        return None;
    }
    let token: Arc<dyn UserToken> = Arc::new(Downstream {
        token,
        slot: Arc::clone(slot),
    });
    Some(Caller { token })
}

async fn validate(validator: &TokenValidator, token: &Secret) -> Result<(), Refusal> {
    match validator.validate(token).await {
        Ok(_) => Ok(()),
        Err(TokenRejection::KeysUnavailable(error)) => Err(match meaning(&error) {
            Meaning::Refusal(refusal @ (Refusal::RetryLater(_) | Refusal::ClientAuthentication)) => refusal,
            _ => Refusal::RetryLater(None),
        }),
        Err(rejection) => {
            tracing::warn!("Rejected a user's token on the inner hop: {rejection}");
            Err(Refusal::TokenRejected)
        }
    }
}

async fn exchanged(exchange: &OnBehalfOf, user_token: Secret, slot: &Arc<Slot>) -> Result<Caller, Refusal> {
    let first = match exchange.get(&user_token, None).await {
        Ok(token) => Ok(token.access_token.clone()),
        Err(error) => match meaning(&error) {
            Meaning::Refusal(refusal) => return Err(refusal),
            Meaning::Message(message) => Err(Refused(message)),
        },
    };
    let token = Exchanged {
        exchange: exchange.clone(),
        user_token,
        first,
        slot: Arc::clone(slot),
    };
    Ok(Caller {
        token: Arc::new(token),
    })
}

/// The bearer token of `Authorization`, of which there may be one.
fn bearer(headers: &HeaderMap) -> Result<Option<Secret>, Refusal> {
    let Some(value) = single(headers, &AUTHORIZATION)? else {
        return Ok(None);
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| is_token(token));
    match token {
        Some(token) => Ok(Some(Secret::new(token))),
        None => Err(Refusal::TokenShape("Authorization carries no bearer token")),
    }
}

/// Visible ASCII, as a header value and as RFC 6750 has it.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_TOKEN && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The one value of a header. Two are a sign that somebody added one.
fn single<'headers>(
    headers: &'headers HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'headers HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::TokenShape("a header that must be single came twice"));
    }
    Ok(first)
}

/// What is behind the layer sees no credential. `Origin` goes too: the sidecar has judged it, and a browser
/// cannot send the host key.
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

/// Reads a message and returns it with its size in bytes. Sets `id` to the id of the message, also if the
/// message is refused.
async fn read(body: HttpBody, id: &mut Option<RequestId>) -> Result<(Message, usize), Refusal> {
    let bytes = to_bytes(body, LARGEST_BODY).await.map_err(|error| {
        // The limit is one cause among others, and is told by its text alone in `axum`.
        let mut causes = std::iter::successors(std::error::Error::source(&error), |cause| (**cause).source());
        if causes.any(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>) {
            Refusal::TooLarge(LARGEST_BODY)
        } else {
            Refusal::Unreadable
        }
    })?;
    match Message::read(&bytes) {
        Ok(message) => {
            id.clone_from(&message.id);
            Ok((message, bytes.len()))
        }
        Err(error) => {
            *id = RequestId::of_refused(&bytes);
            Err(error.into())
        }
    }
}

/// Builds the request with the checked message as its body.
fn with_message(mut parts: http::request::Parts, message: Message) -> Request {
    let length = HeaderValue::from(message.bytes.len());
    parts.headers.insert(CONTENT_LENGTH, length);
    Request::from_parts(parts, HttpBody::from(message.bytes))
}
