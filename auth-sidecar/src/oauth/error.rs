//! Error responses of the OAuth endpoints (RFC 6749, section 5.2).

use axum::Json;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::sessions::GrantError;

/// `Retry-After` in seconds, sent when no better estimate exists.
const RETRY_SECONDS: u64 = 5;

/// An error answer to a program (RFC 6749, section 5.2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: String,
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: &'a str,
}

impl OAuthError {
    pub(super) fn new(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        Self {
            status,
            error,
            description: printable(&description.into()),
            retry_after: None,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// 400 with this code of RFC 6749, section 5.2, or of the endpoint's own RFC.
    pub(super) fn bad_request(error: &'static str, description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, description)
    }

    /// 401 `invalid_client`: the client registers again.
    pub(super) fn unknown_client(description: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", description)
    }

    /// 503: the client tries again later. It is never 401, because clients would then discard valid sessions.
    pub(super) fn unavailable(description: impl Into<String>) -> Self {
        Self {
            retry_after: Some(RETRY_SECONDS),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                description,
            )
        }
    }

    /// 429: the client tries again later.
    pub(super) fn busy(description: impl Into<String>) -> Self {
        Self {
            retry_after: Some(RETRY_SECONDS),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "temporarily_unavailable",
                description,
            )
        }
    }
}

/// Replaces the characters that RFC 6749, section 5.2, does not allow in `error_description`: all but printable
/// ASCII, quotation marks and backslashes.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '"' | '\\' => '\'',
            ' '..='~' => character,
            _ => '?',
        })
        .collect()
}

impl From<GrantError> for OAuthError {
    fn from(error: GrantError) -> Self {
        match &error {
            GrantError::Dead(dead) => Self::bad_request("invalid_grant", dead.to_string()),
            GrantError::Scope => Self::bad_request("invalid_scope", error.to_string()),
            GrantError::Unavailable(source) => {
                if !source.is_outage_of_store() {
                    let source: &dyn std::error::Error = source;
                    tracing::error!(error = source, "A grant could not be redeemed: {source}");
                }
                Self::unavailable(error.to_string())
            }
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = Body {
            error: self.error,
            error_description: &self.description,
        };
        let mut response = (self.status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
