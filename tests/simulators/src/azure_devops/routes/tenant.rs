//! The anonymous question which tenant an organization belongs to.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderName, StatusCode, header};

use crate::azure_devops::{
    OTHER_TENANT_ID, OrganizationTenant, admission::authorization_uri_of, state::Simulator, throttle::put,
};

/// The header's value for an organization without a tenant.
const NO_TENANT: &str = "00000000-0000-0000-0000-000000000000";

/// `HEAD https://vssps.dev.azure.com/{o}`: 404, and the tenant in a header.
pub(super) async fn identity(State(simulator): State<Arc<Simulator>>) -> Response {
    with_tenant(StatusCode::NOT_FOUND, tenant_of(&simulator))
}

/// `HEAD https://dev.azure.com/{o}`: 401 with a challenge that names the tenant.
pub(super) async fn core(State(simulator): State<Arc<Simulator>>) -> Response {
    let tenant = tenant_of(&simulator);
    let mut response = with_tenant(StatusCode::UNAUTHORIZED, tenant);
    put(
        response.headers_mut(),
        header::WWW_AUTHENTICATE,
        &authorization_uri_of(&simulator, tenant),
    );
    response
}

fn tenant_of(simulator: &Simulator) -> &str {
    match simulator.lock().settings.organization_tenant {
        OrganizationTenant::Own => simulator.verifier.tenant_id(),
        OrganizationTenant::Other => OTHER_TENANT_ID,
        OrganizationTenant::None => NO_TENANT,
    }
}

fn with_tenant(status: StatusCode, tenant: &str) -> Response {
    let mut response = status.into_response();
    put(
        response.headers_mut(),
        HeaderName::from_static("x-vss-resourcetenant"),
        tenant,
    );
    response
}
