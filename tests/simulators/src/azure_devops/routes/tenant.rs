//! The anonymous question which tenant an organization belongs to.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderName, StatusCode, header};

use crate::azure_devops::{admission::authorization_uri, state::Simulator, throttle::put};

/// `HEAD https://vssps.dev.azure.com/{o}`: 404, and the tenant in a header.
pub(super) async fn identity(State(simulator): State<Arc<Simulator>>) -> Response {
    with_tenant(StatusCode::NOT_FOUND, &simulator)
}

/// `HEAD https://dev.azure.com/{o}`: 401 with a challenge that names the tenant.
pub(super) async fn core(State(simulator): State<Arc<Simulator>>) -> Response {
    let mut response = with_tenant(StatusCode::UNAUTHORIZED, &simulator);
    put(
        response.headers_mut(),
        header::WWW_AUTHENTICATE,
        &authorization_uri(&simulator),
    );
    response
}

fn with_tenant(status: StatusCode, simulator: &Simulator) -> Response {
    let mut response = status.into_response();
    put(
        response.headers_mut(),
        HeaderName::from_static("x-vss-resourcetenant"),
        simulator.verifier.tenant_id(),
    );
    response
}
