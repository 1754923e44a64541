//! `POST /token`: the token endpoint (RFC 6749, section 3.2).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, PRAGMA};
use axum::response::{IntoResponse, Response};
use behalf_entra::Secret;
use serde::Serialize;

use super::error::OAuthError;
use super::extract::Form;
use crate::access::Scopes;
use crate::clients::{Client, ClientError};
use crate::oauth::login::parameters::{Parameters, Repeated};
use crate::pkce;
use crate::services::Services;
use crate::sessions::{ClientTokens, CodeRedemption, DeadGrant, GrantError};
use crate::telemetry::metrics::SecurityEvent;

#[derive(Serialize)]
struct TokenResponse<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: &'a str,
    scope: String,
}

/// `POST /token`
pub(super) async fn token(
    State(server): State<Arc<Services>>,
    Form(parameters): Form,
) -> Result<Response, OAuthError> {
    let client = client(&server, &parameters)?;
    let grant_type = required(&parameters, "grant_type")?;
    let is_grant = matches!(grant_type, "authorization_code" | "refresh_token");
    if !is_grant {
        let description = "grant_type must be authorization_code or refresh_token";
        return Err(OAuthError::bad_request("unsupported_grant_type", description));
    }
    if !parameters
        .all("resource")
        .all(|resource| server.addresses.are_meant_by(resource))
    {
        let description = format!("the only resource here is {}", server.addresses.resource());
        return Err(OAuthError::bad_request("invalid_target", description));
    }
    let tokens = if grant_type == "authorization_code" {
        redeem_code(&server, &client, &parameters).await?
    } else {
        refresh(&server, &client, &parameters).await?
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

async fn redeem_code(
    server: &Services,
    client: &Client,
    parameters: &Parameters,
) -> Result<ClientTokens, OAuthError> {
    let code = Secret::new(required(parameters, "code")?);
    let code_verifier = Secret::new(required(parameters, "code_verifier")?);
    if !pkce::is_verifier(code_verifier.expose()) {
        let description = "code_verifier must be 43 to 128 letters, digits, '-', '.', '_' or '~'";
        return Err(OAuthError::bad_request("invalid_request", description));
    }
    let redemption = CodeRedemption {
        code: &code,
        client_id: &client.id,
        redirect_uri: parameters.one("redirect_uri")?,
        code_verifier: &code_verifier,
    };
    let outcome = server.sessions.redeem_code(redemption).await;
    outcome.map_err(|error| counted(server, error))
}

async fn refresh(
    server: &Services,
    client: &Client,
    parameters: &Parameters,
) -> Result<ClientTokens, OAuthError> {
    let refresh_token = Secret::new(required(parameters, "refresh_token")?);
    let scopes = parameters
        .one("scope")?
        .map(Scopes::parse)
        .transpose()
        .map_err(|error| OAuthError::bad_request("invalid_scope", error.to_string()))?
        .flatten();
    let outcome = server.sessions.refresh(&refresh_token, &client.id, scopes).await;
    outcome.map_err(|error| counted(server, error))
}

/// Counts what an attack would do, and answers the client.
fn counted(server: &Services, error: GrantError) -> OAuthError {
    if matches!(error, GrantError::Dead(DeadGrant::Reused)) {
        server.metrics.security_event(SecurityEvent::GrantReused);
    }
    error.into()
}

/// The client that asks: public ones say who they are and prove it with the grant.
pub(super) fn client(server: &Services, parameters: &Parameters) -> Result<Client, OAuthError> {
    let client_id = required(parameters, "client_id")?;
    server.clients.find(client_id).map_err(|error| match error {
        ClientError::Unknown => OAuthError::unknown_client(error.to_string()),
        ClientError::Unavailable => OAuthError::unavailable(error.to_string()),
    })
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
