//! `GET /healthz` on the public port, for gateways that probe the port to which they send requests.
//!
//! It asks the question of readiness: may this Pod get requests? Everybody can send it, without a token and without a limit.
//! So it asks neither the server nor the session store; it repeats what the last readiness probe of the kubelet found.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::oauth;
use crate::services::Services;

/// The path of the probe.
pub(crate) const PATH: &str = "/healthz";

/// Builds the router of [`PATH`].
pub(crate) fn router(services: Arc<Services>) -> Router {
    Router::new()
        .route(PATH, get(health))
        .method_not_allowed_fallback(oauth::wrong_method)
        .with_state(services)
}

/// 200 while gateways may send requests to this Pod. The text does not name what is missing: the caller may be anybody.
async fn health(State(services): State<Arc<Services>>) -> impl IntoResponse {
    let (status, text) = if services.takes_requests() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable\n")
    };
    (status, [(CACHE_CONTROL, "no-store")], text)
}
