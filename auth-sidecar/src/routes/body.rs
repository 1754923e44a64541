//! Bodies of programs' requests. What is wrong with one is told in the protocol's own terms.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};

use super::error::OAuthError;
use crate::flow::parameters::Parameters;
use crate::proxy::BODY_LIMIT;

/// A body of `application/x-www-form-urlencoded`.
pub(super) struct Form(pub(super) Parameters);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = OAuthError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let body = read(
            request,
            state,
            "application/x-www-form-urlencoded",
            "invalid_request",
        )
        .await?;
        let parameters = Parameters::parse(&body)
            .map_err(|error| OAuthError::bad_request("invalid_request", error.to_string()))?;
        Ok(Self(parameters))
    }
}

/// A body of `application/json`, not parsed yet.
pub(super) struct JsonBytes(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = OAuthError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        read(request, state, "application/json", "invalid_client_metadata")
            .await
            .map(Self)
    }
}

async fn read<S: Send + Sync>(
    request: Request,
    state: &S,
    content_type: &str,
    error: &'static str,
) -> Result<Bytes, OAuthError> {
    if !is(request.headers(), content_type) {
        let description = format!("the body has to be {content_type}");
        return Err(OAuthError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            error,
            description,
        ));
    }
    if request.headers().contains_key(CONTENT_ENCODING) {
        let description = "compressed bodies are not taken";
        return Err(OAuthError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            error,
            description,
        ));
    }
    // Nobody has signed in yet: whoever sends slowly would hold a connection for nothing.
    let Ok(body) = tokio::time::timeout(BODY_LIMIT, Bytes::from_request(request, state)).await else {
        let description = "the body did not arrive in time";
        return Err(OAuthError::new(StatusCode::REQUEST_TIMEOUT, error, description));
    };
    body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            OAuthError::new(StatusCode::PAYLOAD_TOO_LARGE, error, "the body is too large")
        } else {
            OAuthError::bad_request(error, "the body could not be read to its end")
        }
    })
}

/// True when the media type is `expected`, whatever its parameters say.
fn is(headers: &HeaderMap, expected: &str) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(expected))
}
