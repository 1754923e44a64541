//! Turns the services into the routers of both ports.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, get};
use tower_http::catch_panic::CatchPanicLayer;

use crate::internal_port;
use crate::oauth;
use crate::proxy;
use crate::services::Services;

/// The public port: the OAuth endpoints and `/mcp`.
pub fn public_router(services: &Arc<Services>) -> Router {
    // One connection of a gateway carries many users: a defect met by one request must not end the others.
    let endpoints = oauth::router(Arc::clone(services)).merge(proxy::router(Arc::clone(services)));
    endpoints.layer(CatchPanicLayer::new())
}

/// Every path of the public port. The router is built from the same tables.
pub fn public_paths() -> impl Iterator<Item = &'static str> {
    oauth::paths().chain(proxy::PATHS)
}

/// A path, and what answers there.
type Endpoint = (&'static str, fn() -> MethodRouter<Arc<Services>>);

/// The internal port's.
const INTERNAL: [Endpoint; 5] = [
    ("/startupz", || get(internal_port::startup)),
    ("/readyz", || get(internal_port::ready)),
    ("/livez", || get(internal_port::live)),
    ("/status", || get(internal_port::status)),
    ("/metrics", || get(internal_port::metrics)),
];

/// Every path of the internal port.
pub fn internal_paths() -> impl Iterator<Item = &'static str> {
    INTERNAL.into_iter().map(|(path, _)| path)
}

/// The internal port.
pub fn internal_router(services: Arc<Services>) -> Router {
    let router = INTERNAL
        .into_iter()
        .fold(Router::new(), |router, (path, endpoint)| {
            router.route(path, endpoint())
        });
    router.with_state(services)
}
