//! `GET /authorize`: the authorization endpoint (RFC 6749, section 3.1).

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::page::{self, ConsentPage, Problem};
use super::redirect;
use crate::clients::Client;
use crate::keys::{Purpose, SealError};
use crate::oauth::login::cookies::{self, Cookies};
use crate::oauth::login::{AuthorizationRequest, OfferedRequest, REQUEST_LIFETIME, Refused, csrf};
use crate::services::Services;

/// Longest query that is looked at: client id, redirect URI and state at their longest, URL-encoded.
const LONGEST_QUERY: usize = 12 * 1024;

/// `GET /authorize`: checks the request and asks the user, every time. Nothing is kept and no cookie that
/// could finish a login is set before the user says yes.
pub(super) async fn authorize(
    State(server): State<Arc<Services>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    if query.len() > LONGEST_QUERY {
        return page::problem(&server, Problem::RequestTooLong);
    }
    let checked = AuthorizationRequest::check(
        query.as_bytes(),
        &server.clients,
        &server.addresses,
        &server.access,
    );
    let (request, client) = match checked {
        Ok(checked) => checked,
        Err(Refused::Page(error)) => return page::refused(&server, error),
        Err(Refused::Redirect(error)) => return redirect::error(&server, &error),
    };
    // A page that leads nowhere would waste the user's consent; and its address is part of the page.
    let entra = match server.entra.discovery().await {
        Ok(discovery) => discovery.authorization_endpoint.clone(),
        Err(error) => return redirect::entra_unavailable(&server, &request, &error),
    };
    offer(&server, &request, &client, &headers, &entra).unwrap_or_else(|SealError| {
        // Client id, redirect URI and state are each within bounds, and together beyond a cookie's.
        redirect::error(
            &server,
            &request.refuse("invalid_request", "the request is too long; shorten state"),
        )
    })
}

fn offer(
    server: &Services,
    request: &AuthorizationRequest,
    client: &Client,
    headers: &HeaderMap,
    entra: &url::Url,
) -> Result<Response, SealError> {
    let now = server.clock.now();
    let expires_at = now.checked_add(REQUEST_LIFETIME).unwrap_or(now);
    let kept = Cookies::read(headers)
        .get(csrf::COOKIE_NAME)
        .filter(|value| csrf::is_value(value));
    let browser = kept.map_or_else(|| csrf::new_value(server.random.as_ref()), str::to_owned);
    let offered = OfferedRequest {
        request: request.clone(),
        expires_at,
    };
    let sealed = server.keyring.seal(Purpose::Request, &offered)?;
    // The flow cookie holds the same and about 150 bytes more.
    if sealed.len() + 400 > Purpose::Flow.longest() {
        return Err(SealError);
    }
    let csrf_token = csrf::issue(&server.keyring, &browser, &sealed)?;
    let page = ConsentPage {
        client,
        redirect_uri: &request.redirect_uri,
        scopes: request.scopes,
        request: &sealed,
        csrf: &csrf_token,
        entra,
    };
    Ok(redirect::with_cookies(
        page.respond(server),
        [cookies::set(csrf::COOKIE_NAME, &browser, csrf::COOKIE_LIFETIME)],
    ))
}
