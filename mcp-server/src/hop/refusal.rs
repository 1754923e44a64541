//! The layer's own answers. The sidecar reads the status and the header; the body is for people who debug.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use behalf_contract::headers::{ERROR, INVALID_CLIENT, REAUTHENTICATE};
use behalf_contract::{Reauthenticate, RequestId};
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::message::MessageError;

/// Asked of the sidecar when nobody said how long to wait.
const WAIT: Duration = Duration::from_secs(5);

/// `Retry-After` while the federation does not work: an administrator must act.
const FEDERATION_BROKEN: Duration = Duration::from_secs(30);

/// Usual calls take less.
const MOMENT: Duration = Duration::from_secs(1);

/// Why a request goes no further.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    /// Not from this Pod's sidecar.
    #[error("the host key is missing or wrong")]
    HostKey,

    /// The request ended early.
    #[error("the request body could not be read")]
    Unreadable,

    /// Larger than any request.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),

    /// A compressed body cannot be looked into.
    #[error("the request body must not be compressed")]
    Compressed,

    /// The body is not a valid message.
    #[error("{0}")]
    Message(#[from] MessageError),

    /// The host key alone does not permit this.
    #[error("this request needs a user's token")]
    NoToken,

    /// The same, in a shape in which only tool calls carry a token: there is nothing else to do here.
    #[error("method not found")]
    NoSuchMethod {
        /// The protocol revision is 2026-07-28 or later, where this is 404.
        modern: bool,
    },

    /// `Authorization` or `bearerToken` is not what the configuration says.
    #[error("the tokens of this request do not fit the configuration: {0}")]
    TokenShape(&'static str),

    /// The user's token is not valid here.
    #[error("the user's token was rejected")]
    TokenRejected,

    /// The user is needed.
    #[error("the user has to sign in again")]
    Reauthenticate(Reauthenticate),

    /// It passes by itself.
    #[error("Entra cannot answer at the moment")]
    RetryLater(Option<Duration>),

    /// An administrator must act; retrying does not help.
    #[error("Entra does not accept this server as the application")]
    ClientAuthentication,

    /// As many tool calls, or as large messages, as this server takes are under way.
    #[error("this server has as many calls under way as it takes; try again")]
    Busy,

    /// A defect of this project.
    #[error("Entra could not make sense of the exchange")]
    Bug,
}

impl Refusal {
    fn status(&self, id: Option<&RequestId>) -> StatusCode {
        match self {
            Self::HostKey | Self::NoToken | Self::TokenShape(_) => StatusCode::FORBIDDEN,
            Self::Unreadable | Self::Message(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Compressed => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoSuchMethod { .. } if id.is_none() => StatusCode::ACCEPTED,
            Self::NoSuchMethod { modern: true } => StatusCode::NOT_FOUND,
            Self::NoSuchMethod { modern: false } => StatusCode::OK,
            Self::TokenRejected | Self::Reauthenticate(_) => StatusCode::UNAUTHORIZED,
            Self::RetryLater(_) | Self::ClientAuthentication | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Bug => StatusCode::BAD_GATEWAY,
        }
    }

    /// Builds the answer to the request with this id. If no id could be read, the error has none (MCP
    /// 2026-07-28, Error Responses). The sidecar passes 503 and every 4xx except 401 and 403 on to the
    /// client.
    pub(super) fn answer(&self, id: Option<&RequestId>) -> Response {
        let status = self.status(id);
        let mut response = if status == StatusCode::ACCEPTED {
            status.into_response()
        } else {
            let code = match self {
                Self::Message(error) => error.code(),
                Self::NoSuchMethod { .. } => -32601,
                Self::TooLarge(_) => -32600,
                // JSON-RPC and MCP reserve the codes from -32768 to -32000.
                _ => i32::from(status.as_u16()),
            };
            let mut body = json!({"jsonrpc": "2.0", "error": {"code": code, "message": self.to_string()}});
            if let Some(id) = id {
                body["id"] = json!(id);
            }
            (status, Json(body)).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer error=\"invalid_token\""),
            );
        }
        let wait = match self {
            Self::RetryLater(after) => Some(after.unwrap_or(WAIT)),
            Self::ClientAuthentication => Some(FEDERATION_BROKEN),
            Self::Busy => Some(MOMENT),
            _ => None,
        };
        if let Some(wait) = wait {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        if *self == Self::ClientAuthentication {
            headers.insert(ERROR, HeaderValue::from_static(INVALID_CLIENT));
        }
        if let Self::Reauthenticate(reauthenticate) = self {
            // Base64url is always a header value.
            if let Ok(value) = HeaderValue::from_str(&reauthenticate.encode()) {
                headers.insert(REAUTHENTICATE, value);
            }
        }
        response
    }
}
