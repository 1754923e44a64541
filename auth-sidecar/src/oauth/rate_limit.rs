//! Limits how often one address opens the pages of a login, comes back with a code that Entra does not accept, and sends codes
//! and tokens.
//!
//! A client id has no limit: clients are public, so that anybody could use up the limit of a client id that others use.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;

use super::error::OAuthError;
use super::page::{self, Problem};
use crate::limits::address_budget::AddressBudgets;
use crate::limits::token_bucket::Rate;
use crate::services::Services;
use crate::telemetry::security_event::SecurityEvent;

/// The callbacks of one address whose code Entra does not accept. Everybody can approve a request and send a
/// made-up code, and each asks Entra in the name of the application, which Entra then throttles for all users. The
/// sign-ins of a company behind one gateway cost nothing, because their codes are accepted.
const CALLBACKS_OF_ONE: Rate = Rate {
    burst: 300.0,
    per_second: 5.0,
};

/// The callbacks of all addresses together whose code Entra does not accept. Microsoft does not publish the rate at
/// which Entra throttles an application.
const CALLBACKS: Rate = Rate {
    burst: 2000.0,
    per_second: 50.0,
};

/// The pages of one address: `/authorize` and `/consent`. A login opens both, so that a company behind one gateway can begin
/// 1,500 logins at once, and then 50 a second.
const PAGES_OF_ONE: Rate = Rate {
    burst: 3000.0,
    per_second: 100.0,
};

/// The pages of all addresses together: 500 logins a second, which is more than one core finishes.
const PAGES: Rate = Rate {
    burst: 10_000.0,
    per_second: 1000.0,
};

/// The requests of one address to `/token` and `/revoke`. A client refreshes about once an hour: 10,000 users with three
/// clients each send nine requests a second. After a revocation of everyone each of the 30,000 clients is refused once, and
/// sends a code.
const GRANTS_OF_ONE: Rate = Rate {
    burst: 3000.0,
    per_second: 200.0,
};

/// The requests of all addresses together to `/token` and `/revoke`. One core redeems about this many refresh tokens.
const GRANTS: Rate = Rate {
    burst: 20_000.0,
    per_second: 3000.0,
};

/// Returns the budgets of callbacks whose code Entra does not accept.
pub(crate) fn callback_budgets(now: Timestamp) -> AddressBudgets {
    AddressBudgets::new(CALLBACKS_OF_ONE, CALLBACKS, now)
}

/// Returns the budgets of the pages that begin a login.
pub(crate) fn page_budgets(now: Timestamp) -> AddressBudgets {
    AddressBudgets::new(PAGES_OF_ONE, PAGES, now)
}

/// Returns the budgets of requests with a code or token.
pub(crate) fn grant_budgets(now: Timestamp) -> AddressBudgets {
    AddressBudgets::new(GRANTS_OF_ONE, GRANTS, now)
}

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
