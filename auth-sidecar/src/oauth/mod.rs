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
pub mod login;
mod metadata;
mod page;
mod redirect;
mod register;
mod revoke;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};

pub use cors::allowed_origin;

use self::error::OAuthError;
use crate::services::Services;

/// Largest body of any endpoint here. A registration with ten redirect URIs is about 6 KiB.
const LARGEST_BODY: usize = 32 * 1024;

/// A path, and what answers there.
type Endpoint = (&'static str, fn() -> MethodRouter<Arc<Services>>);

/// Where clients register; there only while the configuration lets them.
const REGISTER: Endpoint = ("/register", || post(register::register));

/// What programs call, from web pages too: no cookie has a meaning there.
const FOR_PROGRAMS: [Endpoint; 6] = [
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
    ("/token", || post(token::token)),
    ("/revoke", || post(revoke::revoke)),
];

/// Where browsers go.
const FOR_PEOPLE: [Endpoint; 3] = [
    ("/authorize", || {
        get(authorize::authorize).options(cors::navigation)
    }),
    ("/consent", || post(consent::consent).options(cors::navigation)),
    ("/callback", || {
        get(callback::callback)
            .head(wrong_method)
            .options(cors::navigation)
    }),
];

/// Every path of [`router`].
pub fn paths() -> impl Iterator<Item = &'static str> {
    let all = FOR_PROGRAMS.into_iter().chain([REGISTER]).chain(FOR_PEOPLE);
    all.map(|(path, _)| path)
}

/// Every endpoint but `/mcp`. Paths that do not exist answer 404 and wrong methods 405, both with JSON, also
/// after merging with a router that has no fallback of its own.
pub fn router<S>(server: Arc<Services>) -> Router<S> {
    let registration = server.clients.may_register().then_some(REGISTER);
    let for_programs = routes(FOR_PROGRAMS.into_iter().chain(registration));
    let for_people = routes(FOR_PEOPLE);
    for_programs
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&server), cors::cors))
        .merge(for_people.method_not_allowed_fallback(wrong_method))
        .fallback(not_found)
        .with_state(server)
}

fn routes(endpoints: impl IntoIterator<Item = Endpoint>) -> Router<Arc<Services>> {
    let route = |router: Router<_>, (path, endpoint): Endpoint| router.route(path, endpoint());
    endpoints.into_iter().fold(Router::new(), route)
}

async fn wrong_method() -> Response {
    OAuthError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "invalid_request",
        "this endpoint does not take this method",
    )
    .into_response()
}

async fn not_found() -> Response {
    OAuthError::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing here; the MCP endpoint is /mcp",
    )
    .into_response()
}
