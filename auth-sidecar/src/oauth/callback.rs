//! `GET /callback`: Entra redirects the browser here after the sign-in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{Extensions, HeaderMap};
use axum::response::Response;
use behalf_contract::Reason;
use behalf_entra::{
    CodeGrant, EntraError, NextStep, Refusal, Secret, SignInReason, TokenRejection, TokenSet, UserIdentity,
};

use super::consent::send_to_entra;
use super::page::{self, Problem};
use super::redirect;
use crate::oauth::login::cookies::{self, Cookies};
use crate::oauth::login::parameters::Parameters;
use crate::oauth::login::{ApprovedRequest, FLOW_LIFETIME, Found, RedirectError};
use crate::services::Services;
use crate::sessions::{NewLogin, SessionError, SignInAgain};
use crate::telemetry::metrics::SecurityEvent;

/// Longest query that is looked at. Entra's codes are about 1.5 KiB.
const LONGEST_QUERY: usize = 16 * 1024;

/// `GET /callback`: the browser comes back from Entra.
///
/// It needs the cookie that the approval set; without it nothing happens, so that a link to this address,
/// or a callback of somebody else's login, signs nobody in.
pub(super) async fn callback(
    State(server): State<Arc<Services>>,
    RawQuery(query): RawQuery,
    extensions: Extensions,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    if query.len() > LONGEST_QUERY {
        return foreign(&server);
    }
    let Ok(parameters) = Parameters::parse(query.as_bytes()) else {
        return foreign(&server);
    };
    let browser = Cookies::read(&headers);
    let state = parameters.one("state").ok().flatten().unwrap_or_default();
    let approved = match ApprovedRequest::find(state, &browser, &server.keyring, server.clock.now()) {
        Ok(Found::Approved(approved)) => *approved,
        Ok(Found::Expired) => return page::problem(&server, Problem::FlowExpired),
        Ok(Found::Nothing) => return foreign(&server),
        Err(_) => return page::problem(&server, Problem::Busy),
    };
    let address = server.trusted_proxies.client(&extensions, &headers);
    let answer = match finish(&server, &approved, &parameters, address).await {
        Ok(Finished::Code(code)) => {
            match approved.request.success(code.expose(), server.addresses.issuer()) {
                Some(url) => redirect::to(&server, &url),
                None => page::problem(&server, Problem::Defect),
            }
        }
        Ok(Finished::Again(again)) => {
            let request = approved.request.clone();
            let next = ApprovedRequest::new(request, true, server.clock.now(), server.random.as_ref());
            send_to_entra(&server, &next, &browser, &again).await
        }
        // The cookie stays: the user may load the same address again.
        Ok(Finished::Limited) => {
            server.metrics.security_event(SecurityEvent::SignInsLimited);
            return page::problem(&server, Problem::TooManySignIns);
        }
        Err(error) => redirect::error(&server, &error),
    };
    // Whatever came of it, the same callback does not count twice.
    redirect::with_cookies(answer, [cookies::remove(&approved.cookie_name())])
}

/// The result of a callback for the browser.
enum Finished {
    /// Signed in.
    Code(Secret),

    /// Entra wants something more, and this is the one time that it is asked for.
    Again(SignInAgain),

    /// Entra is not asked: too many callbacks of this address, or of all, asked Entra before.
    Limited,
}

async fn finish(
    server: &Services,
    approved: &ApprovedRequest,
    parameters: &Parameters,
    address: Option<IpAddr>,
) -> Result<Finished, RedirectError> {
    let request = &approved.request;
    if let Ok(Some(error)) = parameters.one("error") {
        let description = parameters.one("error_description").ok().flatten();
        let refusal = EntraError::Refused(Box::new(Refusal::from_redirect(error, description)));
        // Whoever holds the cookie can write anything here: it is told to the client, and believed no further.
        tracing::info!(
            error = &refusal as &dyn std::error::Error,
            "A sign-in came back from Entra with an error"
        );
        return Err(request.refuse(oauth_error(&refusal), refusal.hint()));
    }
    let Ok(Some(code)) = parameters.one("code") else {
        return Err(request.refuse("server_error", "Entra sent neither a code nor an error"));
    };
    if !server.callbacks.try_charge(address, server.clock.now()) {
        return Ok(Finished::Limited);
    }
    // Before the code is redeemed: with a made-up code, one approval must not cause more than one request to
    // Entra.
    let first = server.sessions.finish_flow(&approved.handle, FLOW_LIFETIME).await;
    if !first.map_err(|error| not_kept(approved, &error))? {
        server.callbacks.refund(address);
        return Err(request.refuse("access_denied", "this sign-in was finished already"));
    }
    let code = Secret::new(code);
    let grant = CodeGrant {
        code: &code,
        redirect_uri: &server.callback(),
        code_verifier: &approved.verifier,
        scope: &server.entra_scope,
    };
    let tokens = match server.entra.redeem_code(grant).await {
        Ok(tokens) => tokens,
        Err(error) => return again_or_refused(server, approved, &error),
    };
    // Only codes that Entra does not accept count, because a person without a sign-in has no others.
    server.callbacks.refund(address);
    let user = identify(server, approved, &tokens).await?;
    if !approved.again {
        let pending = server.sessions.take_pending(&user, &request.client_id).await;
        if let Some(again) = pending.map_err(|error| not_kept(approved, &error))? {
            return Ok(Finished::Again(again));
        }
    }
    let login = NewLogin {
        user,
        client_id: request.client_id.clone(),
        redirect_uri: request.redirect_uri.clone(),
        code_challenge: request.code_challenge.clone(),
        scopes: request.scopes,
        tokens,
    };
    let code = server
        .sessions
        .issue_code(login)
        .await
        .map_err(|error| not_kept(approved, &error))?;
    server.sign_ins.login_succeeded();
    server.metrics.sign_in(Reason::SignedIn.as_str());
    Ok(Finished::Code(code))
}

/// Who signed in. Both tokens have to be of this application and tenant and name the same user, and the id
/// token has to belong to this login.
async fn identify(
    server: &Services,
    approved: &ApprovedRequest,
    tokens: &TokenSet,
) -> Result<UserIdentity, RedirectError> {
    let request = &approved.request;
    let refuse = |rejection: TokenRejection| {
        let error: &dyn std::error::Error = &rejection;
        if rejection.is_outage() {
            tracing::warn!(error, "Entra's token could not be checked for the moment");
            let description = "Entra's keys cannot be read at the moment";
            return request.refuse("temporarily_unavailable", description);
        }
        tracing::error!(error, "Entra's token was not accepted: {rejection}");
        server.metrics.security_event(SecurityEvent::TokenRejected);
        server.metrics.sign_in("TokenRejected");
        request.refuse("server_error", rejection.to_string())
    };
    let Some(id_token) = &tokens.id_token else {
        return Err(request.refuse("server_error", "Entra sent no id token"));
    };
    let identity = server
        .validator
        .validate_id_token(id_token, &approved.nonce)
        .await;
    let identity = identity.map_err(refuse)?;
    let claims = server
        .validator
        .validate(&tokens.access_token)
        .await
        .inspect_err(|rejection| server.sign_ins.login_rejected(rejection))
        .map_err(refuse)?;
    if claims.tid == identity.tid && claims.oid == identity.oid {
        return Ok(identity);
    }
    tracing::error!("Entra's tokens of one login name different users");
    server.metrics.security_event(SecurityEvent::TokenRejected);
    Err(request.refuse("server_error", "Entra's tokens name different users"))
}

/// A sign-in policy that applies to the redemption is asked for once.
fn again_or_refused(
    server: &Services,
    approved: &ApprovedRequest,
    error: &EntraError,
) -> Result<Finished, RedirectError> {
    let source: &dyn std::error::Error = error;
    match error.next_step() {
        NextStep::SignInAgain { claims, consent } if !approved.again && (claims.is_some() || consent) => {
            return Ok(Finished::Again(SignInAgain { claims, consent }));
        }
        NextStep::SignInAgain { .. } | NextStep::Blocked => {
            tracing::info!(error = source, "A sign-in was refused by Entra");
        }
        NextStep::RetryLater { .. } => tracing::warn!(error = source, "A sign-in failed for the moment"),
        NextStep::ClientAuthentication => {
            tracing::error!(error = source, "A sign-in failed: {error}");
            server.federation_trigger.wake();
        }
        NextStep::OurBug => tracing::error!(error = source, "A sign-in failed: {error}"),
    }
    server.sign_ins.login_refused(error);
    server.metrics.sign_in(label(error));
    Err(approved.request.refuse(oauth_error(error), error.hint()))
}

/// Why a sign-in was refused, for a metric.
fn label(error: &EntraError) -> &'static str {
    let of_sign_in = error.sign_in_reason().map(SignInReason::as_str);
    of_sign_in.unwrap_or_else(|| error.federation_finding().reason.as_str())
}

/// What the client is told when Entra refuses (RFC 6749, section 4.1.2.1). Entra's own words may name people
/// and addresses; they stay here.
fn oauth_error(error: &EntraError) -> &'static str {
    match error.next_step() {
        NextStep::SignInAgain { .. } | NextStep::Blocked => "access_denied",
        NextStep::RetryLater { .. } => "temporarily_unavailable",
        NextStep::ClientAuthentication | NextStep::OurBug => "server_error",
    }
}

fn not_kept(approved: &ApprovedRequest, error: &SessionError) -> RedirectError {
    let source: &dyn std::error::Error = error;
    tracing::error!(error = source, "A signed-in user's session could not be kept");
    approved
        .request
        .refuse("temporarily_unavailable", error.to_string())
}

/// A callback that this browser did not begin. Its cookies stay: another sign-in may still need them.
fn foreign(server: &Services) -> Response {
    server.metrics.security_event(SecurityEvent::ForeignCallback);
    page::problem(server, Problem::ForeignCallback)
}
