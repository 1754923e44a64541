//! `POST /register`: the client registration endpoint (RFC 7591).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::error::OAuthError;
use super::extract::JsonBytes;
use crate::clients::{RegistrationError, RegistrationRequest};
use crate::services::Services;
use crate::telemetry::audit::{Action, Event};
use crate::telemetry::security_event::SecurityEvent;

/// `POST /register`: registers a client, and answers 201 with its metadata.
pub(super) async fn register(
    State(services): State<Arc<Services>>,
    extensions: Extensions,
    headers: HeaderMap,
    JsonBytes(body): JsonBytes,
) -> Result<Response, OAuthError> {
    let request: RegistrationRequest = serde_json::from_slice(&body).map_err(|error| {
        // The parser's message may quote the body.
        let place = format!("line {}, column {}", error.line(), error.column());
        OAuthError::bad_request(
            "invalid_client_metadata",
            format!("the body is not client metadata (RFC 7591, section 2): see {place}"),
        )
    })?;
    let address = services.trusted_proxies.client(&extensions, &headers);
    let registered = services.clients.register(request, address).inspect_err(|error| {
        if *error == RegistrationError::Busy {
            services
                .metrics
                .security_event(SecurityEvent::RegistrationLimited);
        }
    })?;
    Event::of(Action::ClientRegistration)
        .client(&registered.client_id)
        .client_name(registered.client_name.as_deref())
        .address(address)
        .succeeded();
    Ok((
        StatusCode::CREATED,
        [(CACHE_CONTROL, "no-store")],
        Json(registered),
    )
        .into_response())
}

impl From<RegistrationError> for OAuthError {
    fn from(error: RegistrationError) -> Self {
        let description = error.to_string();
        match error {
            RegistrationError::RedirectUri { .. } | RegistrationError::RedirectUris => {
                Self::bad_request("invalid_redirect_uri", description)
            }
            RegistrationError::Name | RegistrationError::Grants | RegistrationError::TooLong => {
                Self::bad_request("invalid_client_metadata", description)
            }
            RegistrationError::Busy => Self::busy(description),
        }
    }
}
