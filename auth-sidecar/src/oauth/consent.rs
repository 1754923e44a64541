//! `POST /consent`: the user's decision on the consent page.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::Response;
use behalf_entra::{AuthorizeRequest, EntraError};
use url::Url;

use super::error::OAuthError;
use super::extract::FormParameters;
use super::page::{self, Problem};
use super::redirect;
use crate::keys::Purpose;
use crate::oauth::login::cookies::{self, Cookies};
use crate::oauth::login::remembered_approvals::Approvals;
use crate::oauth::login::{
    ApprovedRequest, AuthorizationRequest, FLOW_COOKIE_LIFETIME, OfferedRequest, PageError, csrf,
    flow_cookies,
};
use crate::pkce;
use crate::services::Services;
use crate::sessions::SignInAgain;
use crate::telemetry::audit::{Action, Event};
use crate::telemetry::security_event::SecurityEvent;

/// A form that is not a consent form of this server.
const UNREADABLE: Problem = Problem::ConsentUnreadable(StatusCode::BAD_REQUEST);

/// `POST /consent`: reads the user's decision. Only an approval sets the cookie that can finish the login and sends
/// the browser to Entra.
pub(super) async fn consent(
    State(services): State<Arc<Services>>,
    extensions: Extensions,
    headers: HeaderMap,
    form: Result<FormParameters, OAuthError>,
) -> Response {
    let form = match form {
        Ok(FormParameters(form)) => form,
        Err(error) if error.status() == StatusCode::REQUEST_TIMEOUT => {
            return page::problem(&services, Problem::ConsentUnreadable(error.status()));
        }
        Err(_) => return page::problem(&services, UNREADABLE),
    };
    let field = |name| form.one(name).ok().flatten();
    let (Some(sealed), Some(token), Some(decision)) = (field("request"), field("csrf"), field("decision"))
    else {
        return page::problem(&services, UNREADABLE);
    };
    let now = services.clock.now();
    let cookies = Cookies::read(&headers);
    let browser = cookies.get(csrf::COOKIE_NAME).unwrap_or_default();
    let is_ours = csrf::is_same_origin(&headers, services.addresses.issuer())
        && csrf::verify(&services.keyring, token, browser, sealed);
    if !is_ours {
        tracing::warn!("Refused a consent form from another page or browser");
        services.metrics.security_event(SecurityEvent::ConsentRefused);
        return page::problem(&services, Problem::ForeignConsent);
    }
    let offered = match services.keyring.open::<OfferedRequest>(Purpose::Request, sealed) {
        Ok(offered) if offered.expires_at > now => offered,
        Ok(_) => return page::problem(&services, Problem::ConsentExpired),
        Err(_) => return page::problem(&services, UNREADABLE),
    };
    let mut request = offered.request;
    // The page has a checkbox only for tools that write. The result never exceeds the requested scopes.
    request.scopes.run &= field("run") == Some("allow");
    if let Some(page) = no_longer_allowed(&services, &request) {
        return page;
    }
    let address = services.trusted_proxies.client(&extensions, &headers);
    match decision {
        "allow" => {
            audit(&request, address).succeeded();
            let approved = ApprovedRequest::new(request, false, now, services.random.as_ref());
            send_to_entra(&services, &approved, &cookies, &SignInAgain::default()).await
        }
        "deny" => {
            audit(&request, address).failed("denied");
            let refusal = request.refuse("access_denied", "the user denied the request");
            let approvals = Approvals::read(&cookies, &services.keyring, now);
            let forgotten = approvals.forget(&request.client_id, &services.keyring);
            redirect::with_cookies(redirect::error(&services, &refusal), [forgotten])
        }
        _ => page::problem(&services, UNREADABLE),
    }
}

/// Returns a page if the administrator denied or removed the client or the redirect URI after the login began.
pub(super) fn no_longer_allowed(services: &Services, request: &AuthorizationRequest) -> Option<Response> {
    let clients = &services.clients;
    match clients.still_redirects_to(&request.client_id, &request.redirect_uri) {
        Ok(true) => None,
        Ok(false) => Some(page::problem(services, Problem::ForeignRedirectUri)),
        Err(error) => Some(page::problem(services, PageError::from(error))),
    }
}

/// Returns the client's redirect URI with the error for a request that does not fit into the flow's cookie.
pub(super) fn too_long(services: &Services, request: &AuthorizationRequest) -> Response {
    let description = "the request is too long; shorten state";
    redirect::error(services, &request.refuse("invalid_request", description))
}

/// Returns the audit event of a decision. The person is not known before the sign-in.
fn audit(request: &AuthorizationRequest, address: Option<IpAddr>) -> Event<'_> {
    Event::of(Action::Consent)
        .client(&request.client_id)
        .address(address)
}

/// Sets the flow's cookie and sends the browser to Entra.
pub(super) async fn send_to_entra(
    services: &Services,
    approved: &ApprovedRequest,
    browser: &Cookies<'_>,
    again: &SignInAgain,
) -> Response {
    let url = match authorize_url(services, approved, again).await {
        Ok(url) => url,
        Err(error) => return redirect::entra_unavailable(services, &approved.request, &error),
    };
    let Ok(value) = approved.seal(&services.keyring) else {
        return too_long(services, &approved.request);
    };
    let surplus = flow_cookies(browser, &services.keyring, services.clock.now());
    let removals = surplus.iter().map(|name| cookies::remove(name));
    let cookie = cookies::set(&approved.cookie_name(), &value, FLOW_COOKIE_LIFETIME);
    redirect::with_cookies(redirect::to(services, &url), removals.chain([cookie]))
}

/// Builds the authorization request for Entra. It has no `resource`, because Entra refuses `resource` together with
/// scopes (AADSTS9010010).
async fn authorize_url(
    services: &Services,
    approved: &ApprovedRequest,
    again: &SignInAgain,
) -> Result<Url, EntraError> {
    let request = AuthorizeRequest {
        redirect_uri: &services.callback(),
        scope: &services.entra_scope,
        state: &approved.handle,
        code_challenge: &pkce::challenge(&approved.verifier),
        nonce: &approved.nonce,
        consent: again.consent,
        claims: again.claims.as_deref(),
    };
    services.entra.authorize_url(&request).await
}
