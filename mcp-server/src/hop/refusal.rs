//! The answers of the layer to requests that it refuses. The sidecar reads the status and the headers, and passes
//! some bodies on to the client.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use behalf_contract::headers::{ERROR, INVALID_CLIENT, REAUTHENTICATE};
use behalf_contract::{Reauthenticate, RequestId};
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::message::{MessageError, json_rpc_error};

/// `Retry-After` while Entra is not available and sends none itself.
const ENTRA_UNAVAILABLE: Duration = Duration::from_secs(5);

/// `Retry-After` while the federation does not work: an administrator must act.
const FEDERATION_BROKEN: Duration = Duration::from_secs(30);

/// `Retry-After` while too many calls are in progress. Most calls take less time.
const BUSY: Duration = Duration::from_secs(1);

/// Why the layer refuses a request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum HopRefusal {
    /// The request is not from this Pod's sidecar.
    #[error("the host key is missing or wrong")]
    HostKey,

    /// The body ended early.
    #[error("the request body could not be read")]
    Unreadable,

    /// The body exceeds the limit, which is this number of bytes.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),

    /// The body is compressed, so that the layer cannot check it.
    #[error("the request body must not be compressed")]
    Compressed,

    /// The body is not a valid message.
    #[error("{0}")]
    Message(#[from] MessageError),

    /// The host key alone does not permit this method.
    #[error("this request needs a user's token")]
    NoToken,

    /// The host key alone does not permit this method, and only tool calls carry a token: the server offers no other methods.
    #[error("method not found")]
    NoSuchMethod {
        /// The protocol revision is 2026-07-28 or later, where this is 404.
        stateless: bool,
    },

    /// `Authorization` or `bearerToken` does not fit the configuration.
    #[error("the tokens of this request do not fit the configuration: {0}")]
    TokenShape(&'static str),

    /// The user's token is not valid for this application.
    #[error("the user's token was rejected")]
    TokenRejected,

    /// The user must sign in again.
    #[error("the user has to sign in again")]
    Reauthenticate(Reauthenticate),

    /// Entra is unavailable or throttles. Contains the time to wait, if it is known.
    #[error("Entra cannot answer at the moment")]
    RetryLater(Option<Duration>),

    /// An administrator must act; retrying does not help.
    #[error("Entra does not accept this server as the application")]
    ClientAuthentication,

    /// The tool calls or messages in progress reach a limit.
    #[error("this server has too many calls in progress; try again")]
    Busy,

    /// Entra rejected the form of the exchange: a defect of this project.
    #[error("Entra rejected the form of the exchange")]
    Bug,

    /// The MCP library refused the request with this status.
    #[error("{}", library_message(*.0))]
    Library(StatusCode),
}

/// A refusal and the id of the message that it answers.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) refusal: HopRefusal,
    /// Absent if the id could not be read.
    pub(super) id: Option<RequestId>,
}

impl From<HopRefusal> for Refused {
    fn from(refusal: HopRefusal) -> Self {
        Self { refusal, id: None }
    }
}

impl Refused {
    pub(super) fn answer(&self) -> Response {
        tracing::debug!("Refused a request: {}", self.refusal);
        self.refusal.answer(self.id.as_ref())
    }
}

/// Returns what the client has to change. The text of the MCP library is not used, because it may repeat what the
/// client sent.
fn library_message(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "Content-Type must be application/json",
        StatusCode::NOT_ACCEPTABLE => "Accept must list application/json and text/event-stream",
        StatusCode::FORBIDDEN => "Host and Origin must name this server",
        status => status.canonical_reason().unwrap_or("the request was refused"),
    }
}

impl HopRefusal {
    fn status(&self, id: Option<&RequestId>) -> StatusCode {
        match self {
            Self::HostKey | Self::NoToken | Self::TokenShape(_) => StatusCode::FORBIDDEN,
            Self::Unreadable | Self::Message(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Compressed => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoSuchMethod { .. } if id.is_none() => StatusCode::ACCEPTED,
            Self::NoSuchMethod { stateless: true } => StatusCode::NOT_FOUND,
            Self::NoSuchMethod { stateless: false } => StatusCode::OK,
            Self::TokenRejected | Self::Reauthenticate(_) => StatusCode::UNAUTHORIZED,
            Self::RetryLater(_) | Self::ClientAuthentication | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Bug => StatusCode::BAD_GATEWAY,
            Self::Library(status) => *status,
        }
    }

    /// Builds the answer to the request with this id. The sidecar passes 503 and every 4xx except 401 and 403 on to the
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
            (status, Json(json_rpc_error(code, &self.to_string(), id))).into_response()
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
            Self::RetryLater(after) => Some(after.unwrap_or(ENTRA_UNAVAILABLE)),
            Self::ClientAuthentication => Some(FEDERATION_BROKEN),
            Self::Busy => Some(BUSY),
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
