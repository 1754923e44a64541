//! `POST /token`: the token endpoint (RFC 6749, section 3.2).

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, PRAGMA};
use axum::http::{Extensions, HeaderMap};
use axum::response::{IntoResponse, Response};
use behalf_entra::Secret;
use serde::Serialize;

use super::error::OAuthError;
use super::extract::FormParameters;
use crate::access::Scopes;
use crate::clients::ClientError;
use crate::oauth::login::parameters::{Parameters, Repeated};
use crate::pkce;
use crate::services::Services;
use crate::sessions::{ClientTokens, CodeRedemption, DeadGrant, GrantError};
use crate::telemetry::security_event::SecurityEvent;

#[derive(Serialize)]
struct TokenResponse<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: &'a str,
    scope: String,
}

/// `POST /token`: redeems a code or a refresh token.
pub(super) async fn token(
    State(services): State<Arc<Services>>,
    extensions: Extensions,
    headers: HeaderMap,
    FormParameters(parameters): FormParameters,
) -> Result<Response, OAuthError> {
    let address = services.trusted_proxies.client(&extensions, &headers);
    let client_id = match client_id(&services, &parameters) {
        Ok(client_id) => client_id,
        Err(error) => {
            end_if_denied(&services, &parameters).await;
            return Err(error);
        }
    };
    let grant_type = required(&parameters, "grant_type")?;
    let is_grant = matches!(grant_type, "authorization_code" | "refresh_token");
    if !is_grant {
        let description = "grant_type must be authorization_code or refresh_token";
        return Err(OAuthError::bad_request("unsupported_grant_type", description));
    }
    if !parameters
        .all("resource")
        .all(|resource| services.addresses.are_meant_by(resource))
    {
        let description = format!("the only resource here is {}", services.addresses.resource());
        return Err(OAuthError::bad_request("invalid_target", description));
    }
    let tokens = if grant_type == "authorization_code" {
        redeem_code(&services, client_id, &parameters, address).await?
    } else {
        refresh(&services, client_id, &parameters, address).await?
    };
    let body = TokenResponse {
        access_token: tokens.access_token.expose(),
        token_type: "Bearer",
        expires_in: tokens.expires_in_seconds,
        refresh_token: tokens.refresh_token.expose(),
        scope: tokens.scopes.to_string(),
    };
    Ok(([(CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")], Json(body)).into_response())
}

/// Ends the session of a refresh token if the administrator denies its client.
async fn end_if_denied(services: &Services, parameters: &Parameters) {
    let one = |name| parameters.one(name).ok().flatten();
    if let (Some(client_id), Some(token)) = (one("client_id"), one("refresh_token"))
        && services.clients.denies(client_id)
    {
        // After a failure the session stays in the store, where no request of its client reaches it.
        let _ = services.sessions.end_denied(&Secret::new(token), client_id).await;
    }
}

async fn redeem_code(
    services: &Services,
    client_id: &str,
    parameters: &Parameters,
    address: Option<IpAddr>,
) -> Result<ClientTokens, OAuthError> {
    let code = Secret::new(required(parameters, "code")?);
    let code_verifier = Secret::new(required(parameters, "code_verifier")?);
    if !pkce::is_verifier(code_verifier.expose()) {
        let description = "code_verifier must be 43 to 128 letters, digits, '-', '.', '_' or '~'";
        return Err(OAuthError::bad_request("invalid_request", description));
    }
    // Only the code knows the redirect URI of a client with a metadata document.
    let redirect_uri = services.sessions.redirect_uri_of_code(&code);
    if redirect_uri.is_some_and(|uri| services.clients.denies_redirect_uri(&uri)) {
        return Err(OAuthError::unknown_client(ClientError::Refused.to_string()));
    }
    let redemption = CodeRedemption {
        code: &code,
        client_id,
        redirect_uri: parameters.one("redirect_uri")?,
        code_verifier: &code_verifier,
        address,
    };
    let outcome = services.sessions.redeem_code(redemption).await;
    outcome.map_err(|error| refused(services, error))
}

async fn refresh(
    services: &Services,
    client_id: &str,
    parameters: &Parameters,
    address: Option<IpAddr>,
) -> Result<ClientTokens, OAuthError> {
    let refresh_token = Secret::new(required(parameters, "refresh_token")?);
    let scopes = parameters
        .one("scope")?
        .map(Scopes::parse)
        .transpose()
        .map_err(|error| OAuthError::bad_request("invalid_scope", error.to_string()))?
        .flatten();
    let sessions = &services.sessions;
    let outcome = sessions.refresh(&refresh_token, client_id, scopes, address).await;
    outcome.map_err(|error| refused(services, error))
}

/// Counts the reuse of a grant as a security event. Returns the answer to the client.
fn refused(services: &Services, error: GrantError) -> OAuthError {
    if matches!(error, GrantError::Dead(DeadGrant::Reused)) {
        services.metrics.security_event(SecurityEvent::GrantReused);
    }
    error.into()
}

/// Returns the client id of the request. Clients are public: they name themselves, and the grant proves it.
pub(super) fn client_id<'a>(services: &Services, parameters: &'a Parameters) -> Result<&'a str, OAuthError> {
    let client_id = required(parameters, "client_id")?;
    match services.clients.check(client_id) {
        Ok(()) => Ok(client_id),
        Err(error @ (ClientError::Unavailable | ClientError::Busy)) => {
            Err(OAuthError::unavailable(error.to_string()))
        }
        Err(error @ (ClientError::Unknown | ClientError::Refused | ClientError::Document)) => {
            Err(OAuthError::unknown_client(error.to_string()))
        }
    }
}

pub(super) fn required<'a>(parameters: &'a Parameters, name: &'static str) -> Result<&'a str, OAuthError> {
    parameters
        .one(name)?
        .ok_or_else(|| OAuthError::bad_request("invalid_request", format!("{name} is missing")))
}

impl From<Repeated> for OAuthError {
    fn from(repeated: Repeated) -> Self {
        Self::bad_request("invalid_request", repeated.to_string())
    }
}
