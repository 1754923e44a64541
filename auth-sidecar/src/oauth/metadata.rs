//! The metadata documents for clients (RFC 9728 and RFC 8414). They list only endpoints that exist.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;

use crate::access::Scopes;
use crate::services::Services;

/// Clients cache the metadata for one minute, so that they soon see a changed configuration.
const CACHING: (axum::http::HeaderName, &str) = (CACHE_CONTROL, "public, max-age=60");

#[derive(Serialize)]
struct ProtectedResource<'a> {
    resource: &'a str,
    authorization_servers: [&'a str; 1],
    scopes_supported: Vec<&'static str>,
    bearer_methods_supported: [&'static str; 1],
}

/// The metadata of the protected resource, at the root and at the variant with the path of the resource. Clients
/// that do not find the variant they try guess addresses.
pub(super) async fn protected_resource(State(services): State<Arc<Services>>) -> impl IntoResponse {
    let body = ProtectedResource {
        resource: services.addresses.resource(),
        authorization_servers: [services.addresses.issuer()],
        // Clients request all of these scopes if no challenge names scopes. Challenges name the same scopes.
        scopes_supported: services.access.offered().names().collect(),
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    client_id_metadata_document_supported: bool,
    authorization_response_iss_parameter_supported: bool,
}

/// The metadata of the authorization server. Both well-known paths answer with the same document.
pub(super) async fn authorization_server(State(services): State<Arc<Services>>) -> impl IntoResponse {
    let endpoint = |path| services.addresses.endpoint(path);
    let body = Metadata {
        issuer: services.addresses.issuer(),
        authorization_endpoint: endpoint("/authorize"),
        token_endpoint: endpoint("/token"),
        registration_endpoint: services.clients.may_register().then(|| endpoint("/register")),
        revocation_endpoint: endpoint("/revoke"),
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        grant_types_supported: ["authorization_code", "refresh_token"],
        token_endpoint_auth_methods_supported: ["none"],
        revocation_endpoint_auth_methods_supported: ["none"],
        code_challenge_methods_supported: ["S256"],
        scopes_supported: services
            .access
            .offered()
            .names()
            .chain([Scopes::OFFLINE_ACCESS])
            .collect(),
        client_id_metadata_document_supported: services.clients.reads_metadata_documents(),
        authorization_response_iss_parameter_supported: true,
    };
    ([CACHING], Json(body)).into_response()
}
