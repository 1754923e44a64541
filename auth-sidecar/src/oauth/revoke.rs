//! `POST /revoke`: the revocation endpoint (RFC 7009).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use behalf_entra::Secret;

use super::error::OAuthError;
use super::extract::FormParameters;
use super::token::{client_id, required};
use crate::services::Services;
use crate::sessions::Revocation;

/// `POST /revoke`: ends the session of a token. It ignores `token_type_hint`, because the prefix of a token names
/// its type.
pub(super) async fn revoke(
    State(services): State<Arc<Services>>,
    FormParameters(parameters): FormParameters,
) -> Result<Response, OAuthError> {
    let client_id = client_id(&services, &parameters)?;
    let token = Secret::new(required(&parameters, "token")?);
    match services.sessions.revoke(&token, client_id).await? {
        Revocation::Done => Ok((StatusCode::OK, [(CACHE_CONTROL, "no-store")]).into_response()),
        // A 200 would tell the client that the code is no longer valid (RFC 7009, section 2.2).
        Revocation::UnsupportedType => Err(OAuthError::bad_request(
            "unsupported_token_type",
            "a code cannot be revoked; it expires by itself, and its tokens can be revoked",
        )),
        Revocation::OtherClient => Err(OAuthError::bad_request(
            "unauthorized_client",
            "the token was issued to another client",
        )),
    }
}
