//! State in, routers out.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use crate::health::{self, InternalState};
use crate::proxy;
use crate::routes;
use crate::state::AppState;

/// The public port: the OAuth endpoints and `/mcp`.
pub fn public_router(state: AppState) -> Router {
    // One connection of a gateway carries many users: a defect met by one request must not end the others.
    let endpoints = routes::router(Arc::clone(&state.server)).merge(proxy::router());
    endpoints.layer(CatchPanicLayer::new()).with_state(state)
}

/// The internal port.
pub fn internal_router(state: InternalState) -> Router {
    Router::new()
        .route("/startupz", get(health::startup))
        .route("/readyz", get(health::ready))
        .route("/livez", get(health::live))
        .route("/status", get(health::status))
        .route("/metrics", get(health::metrics))
        .with_state(state)
}
