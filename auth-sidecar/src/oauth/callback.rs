//! `GET /callback`: Entra redirects the browser here after the sign-in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{Extensions, HeaderMap, HeaderValue};
use axum::response::Response;
use behalf_contract::Reason;
use behalf_entra::{
    CodeGrant, EntraError, NextStep, Refusal, Secret, SignInReason, TokenRejection, TokenSet, UserIdentity,
};

use super::authorize::consent_response;
use super::consent::{no_longer_allowed, send_to_entra};
use super::page::{self, Problem};
use super::redirect;
use crate::oauth::login::cookies::{self, Cookies};
use crate::oauth::login::parameters::Parameters;
use crate::oauth::login::remembered_approvals::{self, Approvals};
use crate::oauth::login::{ApprovedRequest, AuthorizationRequest, FLOW_LIFETIME, Found, RedirectError};
use crate::services::Services;
use crate::sessions::{NewLogin, SessionError, SignInAgain};
use crate::telemetry::audit::{Action, Event};
use crate::telemetry::security_event::SecurityEvent;

/// Maximum length of the query in bytes. Entra's codes are about 1.5 KiB.
const MAX_QUERY_BYTES: usize = 16 * 1024;

/// Finishes the sign-in that the browser brings back from Entra, and redirects the browser to the client.
///
/// The callback needs the cookie that the approval set. A link to this address, or the callback of another
/// browser's login, therefore signs nobody in.
pub(super) async fn callback(
    State(services): State<Arc<Services>>,
    RawQuery(query): RawQuery,
    extensions: Extensions,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    if query.len() > MAX_QUERY_BYTES {
        return foreign(&services);
    }
    let Ok(parameters) = Parameters::parse(query.as_bytes()) else {
        return foreign(&services);
    };
    let browser = Cookies::read(&headers);
    let state = parameters.one("state").ok().flatten().unwrap_or_default();
    let approved = match ApprovedRequest::find(state, &browser, &services.keyring, services.clock.now()) {
        Ok(Found::Approved(approved)) => *approved,
        Ok(Found::Expired) => return page::problem(&services, Problem::FlowExpired),
        Ok(Found::Nothing) => return foreign(&services),
        Err(_) => return page::problem(&services, Problem::Busy),
    };
    if let Some(page) = no_longer_allowed(&services, &approved.request) {
        return page;
    }
    let address = services.trusted_proxies.client(&extensions, &headers);
    let answer = match finish(&services, &approved, &parameters, &browser, address).await {
        Ok(CallbackOutcome::IssueCode(code, user)) => {
            let success = approved
                .request
                .success(code.expose(), services.addresses.issuer());
            match success {
                Some(url) => {
                    let answer = redirect::to(&services, &url);
                    redirect::with_cookies(answer, [remember(&services, &approved, &user, &browser)])
                }
                None => page::problem(&services, Problem::Defect),
            }
        }
        Ok(CallbackOutcome::ShowConsent) => show_consent(&services, &approved, &browser, address).await,
        Ok(CallbackOutcome::SignInOnceMore(again)) => {
            let request = approved.request.clone();
            let next = ApprovedRequest::new(request, true, services.clock.now(), services.random.as_ref())
                .remembered(approved.remembered);
            send_to_entra(&services, &next, &browser, &again).await
        }
        // The cookie stays: the user may load the same address again.
        Ok(CallbackOutcome::RateLimited) => {
            services.metrics.security_event(SecurityEvent::SignInsLimited);
            return page::problem(&services, Problem::TooManySignIns);
        }
        Err(error) => redirect::error(&services, &error),
    };
    // The flow is finished, with success or not: a repeated callback must find no cookie.
    redirect::with_cookies(answer, [cookies::remove(&approved.cookie_name())])
}

/// The result of a callback for the browser.
enum CallbackOutcome {
    /// The user is signed in. Holds the code for the client, and the user.
    IssueCode(Secret, UserIdentity),

    /// The browser remembers the approval of another user than the one who signed in.
    ShowConsent,

    /// Entra requires a claim or consent. The sidecar sends the browser to Entra once more, and only once.
    SignInOnceMore(SignInAgain),

    /// The code is not redeemed: this address, or all together, caused too many requests to Entra.
    RateLimited,
}

async fn finish(
    services: &Services,
    approved: &ApprovedRequest,
    parameters: &Parameters,
    browser: &Cookies<'_>,
    address: Option<IpAddr>,
) -> Result<CallbackOutcome, RedirectError> {
    let code = code_of_entra(&approved.request, parameters)?;
    if !services.callbacks.try_charge(address, services.clock.now()) {
        return Ok(CallbackOutcome::RateLimited);
    }
    // Before the code is redeemed: with a made-up code, one approval must not cause more than one request to
    // Entra.
    finish_flow(services, approved, address).await?;
    let grant = CodeGrant {
        code: &code,
        redirect_uri: &services.callback(),
        code_verifier: &approved.verifier,
        scope: &services.entra_scope,
    };
    let tokens = match services.entra.redeem_code(grant).await {
        Ok(tokens) => tokens,
        Err(error) => return sign_in_again_or_refuse(services, approved, &error, address),
    };
    // Only codes that Entra does not accept count, because a person without a sign-in has no others.
    services.callbacks.refund(address);
    let user = identify(services, approved, &tokens, address).await?;
    if approved.remembered && !still_remembered(services, approved, &user, browser) {
        return Ok(CallbackOutcome::ShowConsent);
    }
    issue_code(services, approved, user, tokens, address).await
}

/// Returns the code with which Entra sent the browser back, or the answer to the error that it sent.
fn code_of_entra(request: &AuthorizationRequest, parameters: &Parameters) -> Result<Secret, RedirectError> {
    if let Ok(Some(error)) = parameters.one("error") {
        let description = parameters.one("error_description").ok().flatten();
        let refusal = EntraError::Refused(Box::new(Refusal::from_redirect(error, description)));
        // The browser can change these parameters, so they prove nothing. Only the client gets them.
        tracing::info!(
            error = &refusal as &dyn std::error::Error,
            "A sign-in came back from Entra with an error"
        );
        return Err(request.refuse(oauth_error(&refusal), refusal.hint()));
    }
    match parameters.one("code") {
        Ok(Some(code)) => Ok(Secret::new(code)),
        _ => Err(request.refuse("server_error", "Entra sent neither a code nor an error")),
    }
}

/// Records that the flow is finished. Refuses a second callback of the same flow.
async fn finish_flow(
    services: &Services,
    approved: &ApprovedRequest,
    address: Option<IpAddr>,
) -> Result<(), RedirectError> {
    let first = services
        .sessions
        .finish_flow(&approved.handle, FLOW_LIFETIME)
        .await;
    if first.map_err(|error| not_stored(approved, &error))? {
        return Ok(());
    }
    services.callbacks.refund(address);
    let description = "this sign-in was finished already";
    Err(approved.request.refuse("access_denied", description))
}

/// Stores the login and issues the code for the client, unless stored requirements of Entra send the user there once more.
async fn issue_code(
    services: &Services,
    approved: &ApprovedRequest,
    user: UserIdentity,
    tokens: TokenSet,
    address: Option<IpAddr>,
) -> Result<CallbackOutcome, RedirectError> {
    let request = &approved.request;
    let event = audit(approved, address).user(&user);
    let refuse = |error: SessionError| {
        let is_revoked = matches!(error, SessionError::Blocked(_));
        let reason = if is_revoked { "Revoked" } else { "SessionNotKept" };
        audit_failure(services, event.clone(), reason);
        not_stored(approved, &error)
    };
    if !approved.is_second_sign_in {
        let pending = services.sessions.remove_pending(&user, &request.client_id).await;
        if let Some(again) = pending.map_err(refuse)? {
            return Ok(CallbackOutcome::SignInOnceMore(again));
        }
    }
    let client = services.clients.find(&request.client_id, address).await.ok();
    let login = NewLogin {
        user: user.clone(),
        client_name: client.and_then(|client| client.name),
        client_id: request.client_id.clone(),
        redirect_uri: request.redirect_uri.clone(),
        code_challenge: request.code_challenge.clone(),
        scopes: request.scopes,
        tokens,
    };
    let code = services.sessions.issue_code(login).await.map_err(refuse)?;
    services.sign_ins.login_succeeded();
    services.metrics.sign_in(Reason::SignedIn.as_str());
    event.succeeded();
    Ok(CallbackOutcome::IssueCode(code, user))
}

/// True if the browser remembers the approval of this user, the configuration still allows that, and no administrator
/// revoked the user's logins since the approval.
fn still_remembered(
    services: &Services,
    approved: &ApprovedRequest,
    user: &UserIdentity,
    browser: &Cookies<'_>,
) -> bool {
    let request = &approved.request;
    let approvals = Approvals::read(browser, &services.keyring, services.clock.now());
    let may_be = services
        .clients
        .may_be_remembered(&request.client_id, &request.redirect_uri);
    let is_revoked = |given_at| services.sessions.is_login_revoked(user, given_at);
    may_be && approvals.allow(user, request, is_revoked)
}

/// Returns the cookie that remembers the approval which the user gave on the consent page of this login.
fn remember(
    services: &Services,
    approved: &ApprovedRequest,
    user: &UserIdentity,
    browser: &Cookies<'_>,
) -> Option<HeaderValue> {
    let request = &approved.request;
    let may_be = services
        .clients
        .may_be_remembered(&request.client_id, &request.redirect_uri);
    if approved.remembered || !may_be {
        return None;
    }
    let now = services.clock.now();
    let approvals = Approvals::read(browser, &services.keyring, now);
    let value = approvals.add(user, request, now, &services.keyring)?;
    cookies::set(cookies::APPROVALS, &value, remembered_approvals::LIFETIME)
}

/// Shows the consent page to the user who signed in. The tokens of this sign-in are dropped; after an approval the
/// user signs in again.
async fn show_consent(
    services: &Services,
    approved: &ApprovedRequest,
    browser: &Cookies<'_>,
    address: Option<IpAddr>,
) -> Response {
    let request = &approved.request;
    let client = match services.clients.find(&request.client_id, address).await {
        Ok(client) if client.may_redirect_to(&request.redirect_uri) => client,
        Ok(_) => return page::problem(services, Problem::ForeignRedirectUri),
        Err(error) => return page::refused(services, error.into()),
    };
    match services.entra.discovery().await {
        Ok(discovery) => consent_response(
            services,
            request,
            &client,
            browser,
            &discovery.authorization_endpoint,
        ),
        Err(error) => redirect::entra_unavailable(services, request, &error),
    }
}

/// Returns the user who signed in. Both tokens must be for this application and tenant and name the same user.
/// The id token must have the nonce of this login.
async fn identify(
    services: &Services,
    approved: &ApprovedRequest,
    tokens: &TokenSet,
    address: Option<IpAddr>,
) -> Result<UserIdentity, RedirectError> {
    let request = &approved.request;
    let refuse = |rejection: TokenRejection| {
        let error: &dyn std::error::Error = &rejection;
        if rejection.is_outage() {
            tracing::warn!(
                error,
                "Unable to check Entra's token: its keys cannot be read; users get temporarily_unavailable. Check egress to Entra"
            );
            audit_failure(services, audit(approved, address), "KeysUnavailable");
            let description = "Entra's keys cannot be read at the moment";
            return request.refuse("temporarily_unavailable", description);
        }
        tracing::error!(error, "Entra's token was not accepted: {rejection}");
        services.metrics.security_event(SecurityEvent::TokenRejected);
        audit_failure(services, audit(approved, address), "TokenRejected");
        request.refuse("server_error", rejection.to_string())
    };
    let Some(id_token) = &tokens.id_token else {
        tracing::error!(
            "Entra sent no id token, although the request had the scope openid; a defect: report it"
        );
        audit_failure(services, audit(approved, address), "TokenRejected");
        return Err(request.refuse("server_error", "Entra sent no id token"));
    };
    let identity = services
        .validator
        .validate_id_token(id_token, &approved.nonce)
        .await;
    let identity = identity.map_err(refuse)?;
    let claims = services
        .validator
        .validate(&tokens.access_token)
        .await
        .inspect_err(|rejection| services.sign_ins.login_rejected(rejection))
        .map_err(refuse)?;
    if claims.tid == identity.tid && claims.oid == identity.oid {
        return Ok(identity);
    }
    tracing::error!("Entra's tokens of one login name different users; a defect: report it");
    services.metrics.security_event(SecurityEvent::TokenRejected);
    audit_failure(services, audit(approved, address), "TokenRejected");
    Err(request.refuse("server_error", "Entra's tokens name different users"))
}

/// Returns the answer to a refused redemption: one more sign-in if Entra requires a claim or consent, else an error.
fn sign_in_again_or_refuse(
    services: &Services,
    approved: &ApprovedRequest,
    error: &EntraError,
    address: Option<IpAddr>,
) -> Result<CallbackOutcome, RedirectError> {
    let source: &dyn std::error::Error = error;
    match error.next_step() {
        NextStep::SignInAgain { claims, consent }
            if !approved.is_second_sign_in && (claims.is_some() || consent) =>
        {
            return Ok(CallbackOutcome::SignInOnceMore(SignInAgain { claims, consent }));
        }
        // The audit log has it.
        NextStep::SignInAgain { .. } | NextStep::Blocked => {}
        NextStep::RetryLater { .. } => tracing::warn!(
            error = source,
            "Unable to redeem a sign-in at Entra now; the client can try again"
        ),
        NextStep::ClientAuthentication => {
            tracing::error!(
                error = source,
                "Entra refused this server's authentication at a sign-in: {error}; see the condition FederationVerified"
            );
            services.federation_trigger.request();
        }
        NextStep::OurBug => tracing::error!(
            error = source,
            "Entra rejected the sidecar's request at a sign-in: {error}; report this defect"
        ),
    }
    services.sign_ins.login_refused(error);
    let event = audit(approved, address).refusal_of_entra(error);
    audit_failure(services, event, label(error));
    Err(approved.request.refuse(oauth_error(error), error.hint()))
}

/// Returns the audit event of the login.
fn audit(approved: &ApprovedRequest, address: Option<IpAddr>) -> Event<'_> {
    Event::of(Action::Login)
        .client(&approved.request.client_id)
        .address(address)
}

/// Counts a login that failed, and writes it to the audit log.
fn audit_failure(services: &Services, event: Event<'_>, reason: &'static str) {
    services.metrics.sign_in(reason);
    event.failed(reason);
}

/// Returns the metric's label for a refused sign-in.
fn label(error: &EntraError) -> &'static str {
    let of_sign_in = error.sign_in_reason().map(SignInReason::as_str);
    of_sign_in.unwrap_or_else(|| error.federation_finding().reason.as_str())
}

/// Returns the error code for the client when Entra refuses (RFC 6749, section 4.1.2.1). Entra's own text may name
/// people and addresses, so the client does not get it.
fn oauth_error(error: &EntraError) -> &'static str {
    match error.next_step() {
        NextStep::SignInAgain { .. } | NextStep::Blocked => "access_denied",
        NextStep::RetryLater { .. } => "temporarily_unavailable",
        NextStep::ClientAuthentication | NextStep::OurBug => "server_error",
    }
}

fn not_stored(approved: &ApprovedRequest, error: &SessionError) -> RedirectError {
    let source: &dyn std::error::Error = error;
    if let SessionError::Blocked(reason) = error {
        return approved.request.refuse("access_denied", reason);
    }
    if !error.is_outage_of_store() {
        tracing::error!(error = source, "Unable to store a new session; see the error");
    }
    approved
        .request
        .refuse("temporarily_unavailable", error.to_string())
}

/// Answers a callback that this browser did not begin. Its cookies stay: another sign-in may still need them.
fn foreign(services: &Services) -> Response {
    services.metrics.security_event(SecurityEvent::ForeignCallback);
    page::problem(services, Problem::ForeignCallback)
}
