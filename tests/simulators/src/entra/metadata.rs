//! The documents anybody may read: discovery and keys.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};

use super::failure::{Failure, json_response};
use super::faults;
use super::model::RequestKind;
use super::report::{Outcome, RequestRecord};
use super::state::World;
use super::trace::Trace;

/// `GET /{tenant}/v2.0/.well-known/openid-configuration`.
pub(super) async fn discovery(
    Shared(world): Shared<Arc<World>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(&world, RequestKind::Discovery, &tenant, &headers, || {
        world.endpoints.discovery()
    })
    .await
}

/// `GET /{tenant}/discovery/v2.0/keys`.
pub(super) async fn keys(
    Shared(world): Shared<Arc<World>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(&world, RequestKind::Keys, &tenant, &headers, || {
        world.lock().keys.document()
    })
    .await
}

async fn answer(
    world: &World,
    kind: RequestKind,
    tenant: &str,
    headers: &HeaderMap,
    document: impl FnOnce() -> serde_json::Value + Send,
) -> Response {
    let trace = Trace::new(headers, world.lock().now());
    let number = world.lock().begin(RequestRecord::new(kind, &trace));
    if let Some(response) = faults::strike(world, number, kind, "", &trace).await {
        return response;
    }
    let checked: Result<(), Failure> = world.endpoints.check_tenant(tenant);
    match checked {
        Ok(()) => {
            let mut response = json_response(200, document().to_string());
            trace.stamp(&mut response, 0);
            // Clients may cache this answer for a day. The other answers must not be cached.
            response.headers_mut().remove(header::PRAGMA);
            response.headers_mut().insert(
                header::CACHE_CONTROL,
                HeaderValue::from_static("max-age=86400, private"),
            );
            world.lock().finish(
                number,
                Outcome {
                    status: 200,
                    ..Outcome::default()
                },
            );
            response
        }
        Err(failure) => {
            world.lock().finish(number, failure.outcome());
            failure.response(&trace)
        }
    }
}
