//! The endpoints of the authorization server.
//!
//! | Path | RFC |
//! |---|---|
//! | `/.well-known/oauth-protected-resource`, `…/mcp` | 9728 |
//! | `/.well-known/oauth-authorization-server`, `/.well-known/openid-configuration` | 8414 |
//! | `/register` | 7591 |
//! | `/authorize`, `/consent`, `/callback` | 6749, 7636, 8707, 9207 |
//! | `/token`, `/revoke` | 6749, 7009 |

mod authorize;
mod callback;
mod consent;
mod cors;
mod error;
mod extract;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
pub mod login;
mod metadata;
mod page;
mod rate_limit;
mod redirect;
mod register;
mod revoke;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use behalf_contract::endpoints;

pub use cors::allowed_origin;
pub(crate) use page::shown_client_name;

use self::error::OAuthError;
use crate::services::Services;
use crate::telemetry::request_cause::remember_request;

/// A path and its handler.
type Endpoint = (&'static str, fn() -> MethodRouter<Arc<Services>>);

/// The registration endpoint. The router contains it only if the configuration allows registration.
const REGISTER: Endpoint = ("/register", || post(register::register));

/// The metadata. Programs read it and call [`GRANTS`] and [`REGISTER`], also from web pages (CORS). They ignore cookies.
const METADATA: [Endpoint; 4] = [
    ("/.well-known/oauth-protected-resource", || {
        get(metadata::protected_resource)
    }),
    ("/.well-known/oauth-protected-resource/mcp", || {
        get(metadata::protected_resource)
    }),
    ("/.well-known/oauth-authorization-server", || {
        get(metadata::authorization_server)
    }),
    ("/.well-known/openid-configuration", || {
        get(metadata::authorization_server)
    }),
];

/// The endpoints that take a code or a token.
const GRANTS: [Endpoint; 2] = [
    ("/token", || post(token::token)),
    ("/revoke", || post(revoke::revoke)),
];

/// The endpoints that a browser navigates to before the sign-in at Entra.
const PAGES: [Endpoint; 2] = [
    ("/authorize", || {
        get(authorize::authorize).options(cors::navigation)
    }),
    ("/consent", || post(consent::consent).options(cors::navigation)),
];

/// The endpoint to which Entra sends the browser. It has a limit of its own.
const CALLBACK: Endpoint = (endpoints::CALLBACK, || {
    get(callback::callback)
        .head(wrong_method)
        .options(cors::navigation)
});

/// Every path of [`router`].
pub fn paths() -> impl Iterator<Item = &'static str> {
    let api = METADATA.into_iter().chain(GRANTS).chain([REGISTER]);
    let all = api.chain(PAGES).chain([CALLBACK]);
    all.map(|(path, _)| path)
}

/// Builds the router of the authorization server. Unknown paths answer 404 and wrong methods 405, both with JSON,
/// also after a merge with a router that has no fallback.
pub fn router<S>(services: Arc<Services>) -> Router<S> {
    let registration = services.clients.may_register().then_some(REGISTER);
    let limit_grants = from_fn_with_state(Arc::clone(&services), rate_limit::grants);
    let limit_pages = from_fn_with_state(Arc::clone(&services), rate_limit::pages);
    let api =
        routes(METADATA.into_iter().chain(registration)).merge(routes(GRANTS).route_layer(limit_grants));
    let pages = routes(PAGES).route_layer(limit_pages).merge(routes([CALLBACK]));
    api.method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&services), cors::cors))
        .merge(pages.method_not_allowed_fallback(wrong_method))
        .fallback(not_found)
        .layer(from_fn(remember_request))
        .with_state(services)
}

fn routes(endpoints: impl IntoIterator<Item = Endpoint>) -> Router<Arc<Services>> {
    let route = |router: Router<_>, (path, endpoint): Endpoint| router.route(path, endpoint());
    endpoints.into_iter().fold(Router::new(), route)
}

/// 405 with the error of OAuth. The router adds `Allow`.
pub(crate) async fn wrong_method() -> Response {
    OAuthError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "invalid_request",
        "this endpoint does not support this method",
    )
    .into_response()
}

async fn not_found() -> Response {
    OAuthError::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "this path does not exist; the MCP endpoint is /mcp",
    )
    .into_response()
}
