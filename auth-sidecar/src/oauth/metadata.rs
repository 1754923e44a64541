//! Metadata for clients (RFC 9728 and RFC 8414). It lists only endpoints that exist.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;

use crate::access::Scopes;
use crate::services::Services;

/// Short, so that a changed server is seen soon.
const CACHING: (axum::http::HeaderName, &str) = (CACHE_CONTROL, "public, max-age=60");

#[derive(Serialize)]
struct ProtectedResource<'a> {
    resource: &'a str,
    authorization_servers: [&'a str; 1],
    scopes_supported: Vec<&'static str>,
    bearer_methods_supported: [&'static str; 1],
}

/// Both at the path variant and at the root: clients that miss one begin to guess.
pub(super) async fn protected_resource(State(server): State<Arc<Services>>) -> impl IntoResponse {
    let body = ProtectedResource {
        resource: server.addresses.resource(),
        authorization_servers: [server.addresses.issuer()],
        // Clients request all of these scopes when no challenge named one, so challenges name the same
        // scopes.
        scopes_supported: server.access.offered().names().collect(),
        bearer_methods_supported: ["header"],
    };
    ([CACHING], Json(body)).into_response()
}

#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    revocation_endpoint: String,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 2],
    token_endpoint_auth_methods_supported: [&'static str; 1],
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    code_challenge_methods_supported: [&'static str; 1],
    scopes_supported: Vec<&'static str>,
    authorization_response_iss_parameter_supported: bool,
}

/// The same document under both names that clients try.
pub(super) async fn authorization_server(State(server): State<Arc<Services>>) -> impl IntoResponse {
    let endpoint = |path| server.addresses.endpoint(path);
    let body = Metadata {
        issuer: server.addresses.issuer(),
        authorization_endpoint: endpoint("/authorize"),
        token_endpoint: endpoint("/token"),
        registration_endpoint: server.clients.may_register().then(|| endpoint("/register")),
        revocation_endpoint: endpoint("/revoke"),
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        grant_types_supported: ["authorization_code", "refresh_token"],
        token_endpoint_auth_methods_supported: ["none"],
        revocation_endpoint_auth_methods_supported: ["none"],
        code_challenge_methods_supported: ["S256"],
        scopes_supported: server
            .access
            .offered()
            .names()
            .chain([Scopes::OFFLINE_ACCESS])
            .collect(),
        authorization_response_iss_parameter_supported: true,
    };
    ([CACHING], Json(body)).into_response()
}
