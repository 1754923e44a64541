//! Where the token of a request arrives, and what kind of token it is.

use std::sync::Arc;

use behalf_contract::mcp;
use behalf_entra::{OnBehalfOf, Secret, TokenRejection, TokenValidator};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::call_token::{CallToken, DownstreamToken, ExchangedToken};
use super::exchange_failure::ExchangeFailure;
use super::late_refusal::LateRefusal;
use super::message::{Bearer, Message};
use super::refusal::HopRefusal;
use super::traces;
use crate::token::{NoToken, UserKey};

/// Maximum length of a token in bytes. Entra issues shorter ones.
const MAX_TOKEN_LENGTH: usize = 64 * 1024;

/// The tokens that the configuration expects.
#[derive(Debug)]
pub enum IncomingToken {
    /// A downstream token: the sidecar did the exchange.
    Downstream {
        /// True if the token arrives as `bearerToken`, without `Authorization`.
        argument: bool,
    },

    /// The user's token for this application. The server validates and exchanges it.
    User {
        /// True if the token arrives as `bearerToken`, too. Both must be equal.
        argument: bool,

        /// Validates the token.
        validator: Box<TokenValidator>,

        /// Exchanges the token On-Behalf-Of the user.
        exchange: Box<OnBehalfOf>,
    },
}

impl IncomingToken {
    /// Returns the token for the tool. Returns `None` for a request that needs none.
    pub(super) async fn for_call(
        &self,
        authorization: Option<Secret>,
        message: &Message,
        headers: &HeaderMap,
        late_refusal: &Arc<LateRefusal>,
    ) -> Result<Option<CallToken>, HopRefusal> {
        match self {
            Self::Downstream { argument: true } => {
                let Some(token) = from_argument(message)? else {
                    return permit_without_token_in_argument(message, headers).map(|()| None);
                };
                Ok(downstream(token, message, late_refusal))
            }
            Self::Downstream { argument: false } => match authorization {
                Some(token) => Ok(downstream(token, message, late_refusal)),
                None => permit_without_token(message).map(|()| None),
            },
            Self::User {
                argument,
                validator,
                exchange,
            } => {
                let Some(token) = authorization else {
                    return permit_without_token(message).map(|()| None);
                };
                let user = validate(validator, &token).await?;
                if !message.is_tool_call() {
                    return Ok(None);
                }
                if *argument && from_argument(message)?.as_ref() != Some(&token) {
                    return Err(HopRefusal::TokenShape(
                        "bearerToken must be the token of Authorization",
                    ));
                }
                Ok(Some(exchanged(exchange, user, token, late_refusal).await?))
            }
        }
    }
}

fn permit_without_token(message: &Message) -> Result<(), HopRefusal> {
    if message.needs_no_token() {
        Ok(())
    } else {
        Err(HopRefusal::NoToken)
    }
}

/// Permits a request where only tool calls carry a token. A user's other requests then look like the sidecar's
/// probe. This server offers no other methods, so they get the protocol's answer to an unknown method.
fn permit_without_token_in_argument(message: &Message, headers: &HeaderMap) -> Result<(), HopRefusal> {
    if message.needs_no_token() {
        return Ok(());
    }
    if message.is_tool_call() {
        return Err(HopRefusal::NoToken);
    }
    let version = headers.get(mcp::PROTOCOL_VERSION_HEADER);
    let stateless = version.is_some_and(|version| mcp::is_stateless(version.as_bytes()));
    Err(HopRefusal::NoSuchMethod { stateless })
}

/// Returns the token in the argument of a tool call.
fn from_argument(message: &Message) -> Result<Option<Secret>, HopRefusal> {
    match &message.bearer {
        Bearer::Token(token) if message.is_tool_call() && is_token(token.expose()) => Ok(Some(token.clone())),
        Bearer::Absent => Ok(None),
        _ if !message.is_tool_call() => Ok(None),
        _ => Err(HopRefusal::TokenShape("bearerToken is no token")),
    }
}

fn downstream(token: Secret, message: &Message, late_refusal: &Arc<LateRefusal>) -> Option<CallToken> {
    message.is_tool_call().then(|| {
        CallToken(Arc::new(DownstreamToken {
            token,
            late_refusal: Arc::clone(late_refusal),
        }))
    })
}

async fn validate(validator: &TokenValidator, token: &Secret) -> Result<UserKey, HopRefusal> {
    match validator.validate(token).await {
        Ok(claims) => Ok(UserKey::of_claims(&claims)),
        Err(TokenRejection::KeysUnavailable(error)) => Err(match ExchangeFailure::new(&error) {
            ExchangeFailure::Refusal(
                refusal @ (HopRefusal::RetryLater(_) | HopRefusal::ClientAuthentication),
            ) => refusal,
            _ => HopRefusal::RetryLater(None),
        }),
        Err(rejection) => {
            tracing::warn!("Rejected a user's token on the inner hop: {rejection}");
            Err(HopRefusal::TokenRejected)
        }
    }
}

async fn exchanged(
    exchange: &OnBehalfOf,
    user: UserKey,
    user_token: Secret,
    late_refusal: &Arc<LateRefusal>,
) -> Result<CallToken, HopRefusal> {
    let first = match traces::exchange(exchange, &user_token, None).await {
        Ok(token) => Ok(token.access_token.clone()),
        Err(error) => match ExchangeFailure::new(&error) {
            ExchangeFailure::Refusal(refusal) => return Err(refusal),
            ExchangeFailure::Message(message) => Err(NoToken(message)),
        },
    };
    Ok(CallToken(Arc::new(ExchangedToken {
        exchange: exchange.clone(),
        user,
        user_token,
        first,
        late_refusal: Arc::clone(late_refusal),
    })))
}

/// Returns the bearer token of `Authorization`, if the header is present.
pub(super) fn from_authorization(headers: &HeaderMap) -> Result<Option<Secret>, HopRefusal> {
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
        None => Err(HopRefusal::TokenShape("Authorization carries no bearer token")),
    }
}

/// Returns true for visible ASCII, which every header value may contain (RFC 6750, section 2.1).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TOKEN_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns the only value of a header. A second value may have been added on the way.
pub(super) fn single<'headers>(
    headers: &'headers HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'headers HeaderValue>, HopRefusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(HopRefusal::TokenShape("a header that must be single came twice"));
    }
    Ok(first)
}
