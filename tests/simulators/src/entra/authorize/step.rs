//! The end of a step of the sign-in, and its answer to the browser.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

use crate::entra::failure::Failure;
use crate::entra::model::User;
use crate::entra::report::Outcome;
use crate::entra::state::{Pending, World};
use crate::entra::trace::Trace;
use crate::entra::{pages, random};

const BROWSER_COOKIE: &str = "SIMSESSION";

/// The end of a step of the sign-in.
pub(super) enum Step {
    /// Another page.
    Page(Response),
    /// Entra's own error page.
    Refused(Failure),
    /// Back to the application with an error.
    Failed(Box<Pending>, Failure),
    /// Back to the application with a code, in the name of this user.
    Done(Box<Pending>, String, User),
}

/// Completes the record of a request and answers it.
pub(super) fn finish(world: &World, number: u64, trace: &Trace, step: Step) -> Response {
    let mut state = world.lock();
    let mut outcome = Outcome::default();
    let mut response = match step {
        Step::Page(page) => page,
        Step::Refused(failure) => {
            outcome = failure.outcome();
            pages::refusal(&failure, trace)
        }
        Step::Failed(pending, failure) => {
            outcome = failure.outcome();
            let description = failure.description(trace);
            back(
                &pending,
                &[("error", &failure.error), ("error_description", &description)],
            )
        }
        Step::Done(pending, code, user) => {
            state.record_user(number, &user.name);
            let session = random::guid();
            let mut response = back(&pending, &[("code", &code), ("session_state", &session)]);
            let browser = random::token();
            let cookie = format!("{BROWSER_COOKIE}={browser}; Path=/; HttpOnly; SameSite=Lax");
            state.browsers.insert(browser, user.object_id);
            if let Ok(cookie) = cookie.parse() {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            response
        }
    };
    outcome.status = response.status().as_u16();
    trace.stamp(&mut response, outcome.codes.first().copied().unwrap_or_default());
    state.finish(number, outcome);
    response
}

/// Answers 302 to the redirect URI, with these parameters and the application's `state`.
fn back(pending: &Pending, parameters: &[(&str, &str)]) -> Response {
    let Ok(mut target) = Url::parse(&pending.redirect_uri) else {
        return pages::not_modelled("redirect URIs that are no URLs");
    };
    {
        let mut query = target.query_pairs_mut();
        query.extend_pairs(parameters);
        if let Some(state) = &pending.state {
            query.append_pair("state", state);
        }
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    if let Ok(location) = HeaderValue::from_str(target.as_str()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Returns the browser's session from its cookie.
pub(super) fn browser(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == BROWSER_COOKIE)
        .map(|(_, value)| value)
}
