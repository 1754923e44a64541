//! Builds what answers the requests of both ports from the services.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use behalf_runtime::trace::trace_request;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tower::{Service, ServiceExt as _};

use crate::health;
use crate::internal_port;
use crate::oauth;
use crate::proxy::{self, McpEndpoint};
use crate::services::Services;

/// Builds the service of the public port.
pub fn public_port(services: &Arc<Services>) -> PublicPort {
    let mut others = oauth::router(Arc::clone(services));
    if let Some(tracer) = &services.tracer {
        others = others.layer(from_fn_with_state(tracer.clone(), trace_request));
    }
    PublicPort {
        mcp: McpEndpoint::new(Arc::clone(services)),
        others: others.merge(health::router(Arc::clone(services))),
    }
}

/// The public port: the OAuth endpoints, `/mcp` and the probe of gateways.
///
/// Nearly every request is for `/mcp`. It does not go through the router, which makes about fifteen allocations for a request.
#[derive(Clone)]
pub struct PublicPort {
    mcp: McpEndpoint,
    others: Router,
}

impl Service<Request> for PublicPort {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let path = request.uri().path();
        match proxy::PATHS.into_iter().find(|known| *known == path) {
            Some(path) => self.mcp.clone().answer(path, request).map(Ok).boxed(),
            None => self.others.clone().oneshot(request).boxed(),
        }
    }
}

/// Every path of the public port. [`public_port`] uses the same tables.
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
