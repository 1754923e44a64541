//! Extractors for request bodies. They answer an unusable body with an OAuth error.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_ENCODING;
use behalf_runtime::has_media_type;

use super::error::OAuthError;
use crate::limits::body_budget::{ReadError, read_form};
use crate::oauth::login::parameters::Parameters;
use crate::services::Services;

/// A body of `application/x-www-form-urlencoded`.
pub(super) struct FormParameters(pub(super) Parameters);

impl FromRequest<Arc<Services>> for FormParameters {
    type Rejection = OAuthError;

    async fn from_request(request: Request, _: &Arc<Services>) -> Result<Self, Self::Rejection> {
        let body = read(request, "application/x-www-form-urlencoded", "invalid_request").await?;
        let parameters = Parameters::parse(&body)
            .map_err(|error| OAuthError::bad_request("invalid_request", error.to_string()))?;
        Ok(Self(parameters))
    }
}

/// The bytes of an `application/json` body.
pub(super) struct JsonBytes(pub(super) Bytes);

impl FromRequest<Arc<Services>> for JsonBytes {
    type Rejection = OAuthError;

    async fn from_request(request: Request, _: &Arc<Services>) -> Result<Self, Self::Rejection> {
        read(request, "application/json", "invalid_client_metadata")
            .await
            .map(Self)
    }
}

async fn read(request: Request, content_type: &str, error: &'static str) -> Result<Bytes, OAuthError> {
    if !has_media_type(request.headers(), content_type) {
        let description = format!("the content type must be {content_type}");
        return Err(OAuthError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            error,
            description,
        ));
    }
    if request.headers().contains_key(CONTENT_ENCODING) {
        let description = "compressed bodies are not supported";
        return Err(OAuthError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            error,
            description,
        ));
    }
    read_form(request.into_body())
        .await
        .map_err(|refusal| match refusal {
            ReadError::TooLarge => OAuthError::new(StatusCode::PAYLOAD_TOO_LARGE, error, refusal.to_string()),
            ReadError::TimedOut => OAuthError::new(StatusCode::REQUEST_TIMEOUT, error, refusal.to_string()),
            ReadError::Broken => OAuthError::bad_request(error, refusal.to_string()),
        })
}
