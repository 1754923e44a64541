//! Limits how often one address opens the pages of a login, comes back with a code that Entra does not accept, and sends codes
//! and tokens.
//!
//! A client id has no limit: clients are public, so that anybody could use up the limit of a client id that others use.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::error::OAuthError;
use super::page::{self, Problem};
use crate::services::Services;
use crate::telemetry::security_event::SecurityEvent;

/// Limits `/authorize` and `/consent`.
pub(super) async fn pages(State(services): State<Arc<Services>>, request: Request, next: Next) -> Response {
    let address = services
        .trusted_proxies
        .client(request.extensions(), request.headers());
    let is_page = request.method() != Method::OPTIONS;
    if is_page && !services.pages.try_charge(address, services.clock.now()) {
        services.metrics.security_event(SecurityEvent::PagesLimited);
        return page::problem(&services, Problem::TooManySignIns);
    }
    next.run(request).await
}

/// Limits `/token` and `/revoke`. Refused requests have no smaller limit: codes and tokens are sealed, so that nobody can
/// guess one, and clients of ended sessions would keep their neighbours from a login.
pub(super) async fn grants(State(services): State<Arc<Services>>, request: Request, next: Next) -> Response {
    let address = services
        .trusted_proxies
        .client(request.extensions(), request.headers());
    if !services.grants.try_charge(address, services.clock.now()) {
        services.metrics.security_event(SecurityEvent::GrantsLimited);
        let description = "too many requests from this address; send the request again later";
        return OAuthError::busy(description).into_response();
    }
    next.run(request).await
}
