//! Redirects of the browser.

use axum::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use behalf_entra::EntraError;
use url::Url;

use super::page::{self, Problem};
use crate::oauth::login::{AuthorizationRequest, RedirectError};
use crate::services::Services;

/// Sends the browser to `url` with a GET, also after a POST. The answer is not cached, and sends no referrer.
pub(super) fn to(services: &Services, url: &Url) -> Response {
    let Ok(location) = HeaderValue::from_str(url.as_str()) else {
        return page::problem(services, Problem::Defect);
    };
    let headers = [
        (LOCATION, location),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// Sends the browser back to the client with an error.
pub(super) fn error(services: &Services, error: &RedirectError) -> Response {
    let description = super::error::printable(&error.description);
    let error = RedirectError {
        description,
        ..error.clone()
    };
    // The description may repeat a part of the request.
    tracing::info!(
        oauth.error = error.error,
        "Sent the browser back to the client with {}",
        error.error
    );
    match error.location(services.addresses.issuer()) {
        Some(url) => to(services, &url),
        None => page::problem(services, Problem::Defect),
    }
}

/// Sends the browser back to the client because Entra's discovery document is not available.
pub(super) fn entra_unavailable(
    services: &Services,
    request: &AuthorizationRequest,
    cause: &EntraError,
) -> Response {
    tracing::error!(
        error = cause as &dyn std::error::Error,
        "Unable to start a sign-in: Entra's discovery document cannot be read; check egress to Entra"
    );
    let description = "Entra cannot be reached at the moment; try again in a minute";
    error(services, &request.refuse("temporarily_unavailable", description))
}

/// Adds cookies to an answer.
pub(super) fn with_cookies(
    mut response: Response,
    cookies: impl IntoIterator<Item = Option<HeaderValue>>,
) -> Response {
    for cookie in cookies.into_iter().flatten() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
