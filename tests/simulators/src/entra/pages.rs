//! The simulator's HTML: sign-in, consent, and the page that says no.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::failure::Failure;
use super::model::{Application, User};
use super::scopes::Resource;
use super::trace::Trace;

/// Name of the `meta` element that carries the AADSTS code of an error page.
pub const ERROR_META: &str = "entra-simulator-error";

/// Text for an element or a quoted attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn page(status: u16, title: &str, head: &str, body: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>{head}\
         <style>body{{font-family:sans-serif;background:#f2f2f2}}\
         main{{max-width:26rem;margin:10vh auto;background:#fff;padding:2rem;box-shadow:0 2px 6px #0003}}\
         label,button{{display:block;margin:.6rem 0}}input{{width:100%;padding:.4rem;box-sizing:border-box}}\
         button{{padding:.5rem 1.2rem}}small{{color:#555}}</style></head>\
         <body><main><small>Entra simulator: no real account works here</small>{body}</main></body></html>\n"
    );
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

/// Maximum number of users that the sign-in page offers. A benchmark has thousands, and types their names.
const MOST_CHOICES: usize = 20;

/// The contents of the sign-in page.
pub(super) struct SignInPage<'a> {
    pub(super) tenant: &'a str,
    pub(super) context: &'a str,
    pub(super) application: &'a Application,
    pub(super) users: &'a [User],
    pub(super) login_hint: &'a str,
    pub(super) problem: Option<&'a Failure>,
}

/// The page that asks for the user's name. There are no passwords.
pub(super) fn sign_in(what: &SignInPage<'_>) -> Response {
    let problem = what.problem.map_or_else(String::new, |failure| {
        format!(
            "<p role=\"alert\">AADSTS{}: {}</p>",
            failure.code,
            escape(&failure.message)
        )
    });
    let head = what.problem.map_or_else(String::new, error_meta);
    let mut choices = String::new();
    for user in what.users.iter().take(MOST_CHOICES) {
        // Writing to a string does not fail.
        let _ = write!(
            choices,
            "<button type=\"submit\" name=\"pick\" value=\"{}\">{}</button>",
            escape(&user.name),
            escape(&user.display_name)
        );
    }
    let body = format!(
        "<h1>Sign in</h1><p>to continue to <strong>{name}</strong></p>{problem}\
         <form method=\"post\" action=\"/{tenant}/login\">\
         <input type=\"hidden\" name=\"ctx\" value=\"{context}\">\
         <label>User name <input type=\"text\" name=\"login\" value=\"{hint}\" autocomplete=\"username\" autofocus></label>\
         <button type=\"submit\" name=\"action\" value=\"next\">Next</button>\
         <p><small>or choose</small></p>{choices}\
         <button type=\"submit\" name=\"action\" value=\"cancel\">Cancel</button></form>",
        name = escape(&what.application.display_name),
        tenant = escape(what.tenant),
        context = escape(what.context),
        hint = escape(what.login_hint),
    );
    page(200, "Sign in", &head, &body)
}

/// The page that asks for consent.
pub(super) fn consent(
    tenant: &str,
    context: &str,
    application: &Application,
    user: &User,
    resources: &[Resource],
) -> Response {
    let wanted: String = resources
        .iter()
        .map(|resource| match resource {
            Resource::Application => "<li>Use the application in your name</li>",
            Resource::AzureDevOps => "<li>Full access to Azure DevOps Services REST APIs</li>",
            Resource::Redis => "<li>Use Azure Cache for Redis in your name</li>",
            Resource::Graph => "<li>Sign you in and read your profile</li>",
        })
        .collect();
    let body = format!(
        "<h1>Permissions requested</h1><p>{user}</p><p><strong>{name}</strong> would like to:</p><ul>{wanted}</ul>\
         <form method=\"post\" action=\"/{tenant}/consent\">\
         <input type=\"hidden\" name=\"ctx\" value=\"{context}\">\
         <button type=\"submit\" name=\"decision\" value=\"accept\">Accept</button>\
         <button type=\"submit\" name=\"decision\" value=\"cancel\">Cancel</button></form>",
        user = escape(&user.name),
        name = escape(&application.display_name),
        tenant = escape(tenant),
        context = escape(context),
    );
    page(200, "Permissions requested", "", &body)
}

/// Entra's own error page: it ends here, no callback comes. Entra answers such pages with 200.
pub(super) fn refusal(failure: &Failure, trace: &Trace) -> Response {
    let body = format!(
        "<h1>Sorry, but we’re having trouble signing you in.</h1><p role=\"alert\">AADSTS{}: {}</p>\
         <p><small>Request Id: {}<br>Correlation Id: {}</small></p>",
        failure.code,
        escape(&failure.message),
        trace.id,
        trace.correlation_id
    );
    let mut response = page(200, "Sign in to your account", &error_meta(failure), &body);
    trace.stamp(&mut response, failure.code);
    response
}

/// The page for a request that real Entra would serve and this simulator does not.
pub(super) fn not_modelled(what: &str) -> Response {
    let body = format!(
        "<h1>Not modelled</h1><p>The simulator does not model {}.</p>",
        escape(what)
    );
    page(501, "Not modelled", "", &body)
}

fn error_meta(failure: &Failure) -> String {
    format!("<meta name=\"{ERROR_META}\" content=\"{}\">", failure.code)
}
