//! CORS of the endpoints that programs call: the web pages whose scripts may call them.
//!
//! Allowed are pages on the user's machine (the MCP Inspector at `http://localhost:6274`) and pages at the hosts
//! that redirect URIs may have. The answer names the page's origin, and no wildcard. There is no
//! `Access-Control-Allow-Credentials`, because these endpoints ignore cookies.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use url::Url;

use crate::clients::is_loopback;
use crate::services::Services;

/// Returns the `Origin` of a request if pages of that origin may read answers.
pub fn allowed_origin(services: &Services, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let text = origin.to_str().ok()?;
    let url = Url::parse(text).ok()?;
    // Browsers send an origin in this normal form, without a path.
    if url.origin().ascii_serialization() != text {
        return None;
    }
    let is_allowed = match url.scheme() {
        "http" => is_loopback(&url),
        "https" => is_loopback(&url) || services.clients.trusts_host_of(&url),
        _ => false,
    };
    is_allowed.then(|| origin.clone())
}

/// Answers preflight requests, and adds the CORS headers to all other answers.
pub(super) async fn cors(State(services): State<Arc<Services>>, request: Request, next: Next) -> Response {
    let origin = allowed_origin(&services, request.headers());
    let mut response = if request.method() == Method::OPTIONS {
        preflight(origin.is_some())
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("WWW-Authenticate, Retry-After"),
        );
    }
    response
}

fn preflight(allowed: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if allowed {
        let headers = response.headers_mut();
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, OPTIONS"),
        );
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Authorization, Content-Type, MCP-Protocol-Version"),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// Answers `OPTIONS` of the pages that browsers navigate to. No script may call them.
pub(super) async fn navigation() -> Response {
    (StatusCode::NO_CONTENT, [(ALLOW, "GET, POST, OPTIONS")]).into_response()
}
