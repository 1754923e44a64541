//! Builds the routers of both ports from the services.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get};
use behalf_runtime::trace::trace_request;
use tower_http::catch_panic::CatchPanicLayer;

use crate::health;
use crate::internal_port;
use crate::oauth;
use crate::proxy;
use crate::services::Services;

/// The public port: the OAuth endpoints, `/mcp` and the probe of gateways.
pub fn public_router(services: &Arc<Services>) -> Router {
    // One connection of a gateway carries the requests of many users. A panic in one request must not end the
    // connection.
    let mut endpoints = oauth::router(Arc::clone(services))
        .merge(proxy::router(Arc::clone(services)))
        .layer(CatchPanicLayer::new());
    // Outside, so that the trace has the answer to a request that panicked.
    if let Some(tracer) = &services.tracer {
        endpoints = endpoints.layer(from_fn_with_state(tracer.clone(), trace_request));
    }
    endpoints.merge(health::router(Arc::clone(services)))
}

/// Every path of the public port. [`public_router`] uses the same tables.
pub fn public_paths() -> impl Iterator<Item = &'static str> {
    oauth::paths().chain(proxy::PATHS).chain([health::PATH])
}

/// A path and its handler.
type Endpoint = (&'static str, fn() -> MethodRouter<Arc<Services>>);

/// The endpoints of the internal port.
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

/// The router of the internal port.
pub fn internal_router(services: Arc<Services>) -> Router {
    let router = INTERNAL
        .into_iter()
        .fold(Router::new(), |router, (path, endpoint)| {
            router.route(path, endpoint())
        });
    router.with_state(services)
}
