//! `GET /authorize`: the authorization endpoint (RFC 6749, section 3.1).

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{Extensions, HeaderMap};
use axum::response::Response;

use super::consent::{send_to_entra, too_long};
use super::page::{self, ConsentPage, Problem};
use super::redirect;
use crate::clients::{Client, ClientError};
use crate::keys::{Purpose, SealError};
use crate::oauth::login::cookies::{self, Cookies};
use crate::oauth::login::remembered_approvals::Approvals;
use crate::oauth::login::{
    ApprovedRequest, AuthorizationRequest, AuthorizeRefusal, OfferedRequest, PageError, REQUEST_LIFETIME,
    csrf,
};
use crate::services::Services;
use crate::sessions::SignInAgain;
use crate::telemetry::security_event::SecurityEvent;

/// Maximum length of the query in bytes. The longest client id, redirect URI and state fit, URL-encoded.
const MAX_QUERY_BYTES: usize = 12 * 1024;

/// `GET /authorize`: validates the request and shows the consent page, unless the browser remembers the approval of this
/// request. Before the approval it stores nothing, and sets no cookie that can finish a login.
pub(super) async fn authorize(
    State(services): State<Arc<Services>>,
    RawQuery(query): RawQuery,
    extensions: Extensions,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    if query.len() > MAX_QUERY_BYTES {
        return page::problem(&services, Problem::RequestTooLong);
    }
    let caller = services.trusted_proxies.client(&extensions, &headers);
    let checked = AuthorizationRequest::check(
        query.as_bytes(),
        caller,
        &services.clients,
        &services.addresses,
        &services.access,
    );
    let (request, client) = match checked.await {
        Ok(checked) => checked,
        Err(AuthorizeRefusal::Page(error)) => {
            if error == PageError::Client(ClientError::Busy) {
                services
                    .metrics
                    .security_event(SecurityEvent::MetadataDocumentsLimited);
            }
            return page::refused(&services, error);
        }
        Err(AuthorizeRefusal::Redirect(error)) => return redirect::error(&services, &error),
    };
    // The page's content security policy needs Entra's address. A consent is useless while Entra is unreachable.
    let entra = match services.entra.discovery().await {
        Ok(discovery) => discovery.authorization_endpoint.clone(),
        Err(error) => return redirect::entra_unavailable(&services, &request, &error),
    };
    let cookies = Cookies::read(&headers);
    if is_remembered(&services, &request, &cookies) {
        let now = services.clock.now();
        let approved = ApprovedRequest::new(request, false, now, services.random.as_ref()).remembered(true);
        return send_to_entra(&services, &approved, &cookies, &SignInAgain::default()).await;
    }
    consent_response(&services, &request, &client, &cookies, &entra)
}

/// True if some user approved this request in this browser, and the client does not ask for the page.
fn is_remembered(services: &Services, request: &AuthorizationRequest, cookies: &Cookies<'_>) -> bool {
    let may_be = || {
        services
            .clients
            .may_be_remembered(&request.client_id, &request.redirect_uri)
    };
    let approvals = || Approvals::read(cookies, &services.keyring, services.clock.now());
    !request.prompts && may_be() && approvals().allow_somebody(request)
}

/// Shows the consent page.
pub(super) fn consent_response(
    services: &Services,
    request: &AuthorizationRequest,
    client: &Client,
    cookies: &Cookies<'_>,
    entra: &url::Url,
) -> Response {
    consent_page(services, request, client, cookies, entra)
        .unwrap_or_else(|SealError| too_long(services, request))
}

fn consent_page(
    services: &Services,
    request: &AuthorizationRequest,
    client: &Client,
    cookies: &Cookies<'_>,
    entra: &url::Url,
) -> Result<Response, SealError> {
    let now = services.clock.now();
    let expires_at = now.checked_add(REQUEST_LIFETIME).unwrap_or(now);
    let existing = cookies
        .get(csrf::COOKIE_NAME)
        .filter(|value| csrf::is_value(value));
    let browser = existing.map_or_else(|| csrf::new_value(services.random.as_ref()), str::to_owned);
    let offered = OfferedRequest {
        request: request.clone(),
        expires_at,
    };
    let sealed = services.keyring.seal(Purpose::Request, &offered)?;
    // The flow cookie contains the same request and about 150 bytes more.
    if sealed.len() + 400 > Purpose::Flow.max_length() {
        return Err(SealError);
    }
    let csrf_token = csrf::issue(&services.keyring, &browser, &sealed)?;
    let page = ConsentPage {
        client,
        redirect_uri: &request.redirect_uri,
        scopes: request.scopes,
        request: &sealed,
        csrf: &csrf_token,
        entra,
    };
    Ok(redirect::with_cookies(
        page.respond(services),
        [cookies::set(csrf::COOKIE_NAME, &browser, csrf::COOKIE_LIFETIME)],
    ))
}
