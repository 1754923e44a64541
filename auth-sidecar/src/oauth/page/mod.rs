//! Pages for users: plain HTML from templates, without scripts or external resources. Every page names the
//! server and shows a reference that is also in the log.

mod application_name;
mod consent;
mod problem;

use std::fmt;
use std::sync::LazyLock;

use askama::Template;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

pub(crate) use application_name::shown as shown_client_name;
pub(super) use consent::ConsentPage;
pub(super) use problem::{Problem, problem, refused};

use crate::keys::{Random, random_bytes};
use crate::services::Services;

const STYLE: &str = include_str!("style.css");

/// The hash of the only style sheet that the content security policy allows.
static STYLE_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", BASE64.encode(Sha256::digest(STYLE))));

/// The parts that every page contains.
struct Frame<'a> {
    style: &'static str,
    server: &'a str,
    reference: Reference,
}

impl<'a> Frame<'a> {
    fn new(services: &'a Services) -> Self {
        Self {
            style: STYLE,
            server: services.addresses.host(),
            reference: Reference::new(services.random.as_ref()),
        }
    }
}

/// The reference on a page. A user tells it to an administrator, who finds the page's line in the log with
/// it. It is 40 random bits as hexadecimal digits.
struct Reference([u8; 5]);

impl Reference {
    fn new(random: &dyn Random) -> Self {
        Self(random_bytes(random))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

fn respond(status: StatusCode, page: &impl Template, form_action: &str) -> Response {
    let policy = format!(
        "default-src 'none'; style-src {style}; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'",
        style = *STYLE_SOURCE
    );
    let (Ok(html), Ok(policy)) = (page.render(), HeaderValue::from_str(&policy)) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, policy),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, html).into_response()
}
