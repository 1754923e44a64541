//! Pages for people: plain HTML, no script, nothing from elsewhere.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::access::Scopes;
use crate::clients::{Client, ClientError, ClientKind, is_loopback, is_relay};
use crate::flow::PageError;

const STYLE: &str = include_str!("page.css");

/// The one style sheet that the policy lets through.
static STYLE_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", BASE64.encode(Sha256::digest(STYLE))));

/// What the user is asked.
pub(super) struct ConsentPage<'a> {
    pub(super) server_host: &'a str,
    pub(super) client: &'a Client,
    pub(super) redirect_uri: &'a str,
    pub(super) scopes: Scopes,
    pub(super) entra_scope: &'a str,
    pub(super) request: &'a str,
    pub(super) csrf: &'a str,
    pub(super) entra: &'a Url,
}

impl ConsentPage<'_> {
    pub(super) fn into_response(self) -> Response {
        let title = format!("Allow {} to act as you?", self.client_name());
        response(StatusCode::OK, &title, &self.body(&title), &self.form_action())
    }

    fn client_name(&self) -> String {
        let name = self.client.name.as_deref().map(plain).unwrap_or_default();
        if name.is_empty() {
            "An application without a name".to_owned()
        } else {
            name
        }
    }

    fn body(&self, title: &str) -> String {
        let redirect = Url::parse(self.redirect_uri).ok();
        let place = redirect.as_ref().map(place).unwrap_or_default();
        let origin_of_name = match self.client.kind {
            ClientKind::Static => "Registered by the administrator of this server.",
            ClientKind::Registered => "The application chose this name itself; nobody has checked it.",
        };
        let mut rights = String::new();
        if self.scopes.read {
            rights.push_str("<li>See what you may see, through this server's read-only tools.</li>");
        }
        if self.scopes.run {
            rights.push_str(
                "<li><label><input type=\"checkbox\" name=\"run\" value=\"allow\" checked> Change what \
                 you may change, through its other tools, in your name.</label></li>",
            );
        }
        let warning = if redirect.as_ref().is_some_and(leads_to_local_program) {
            "<p class=\"note\" role=\"note\"><strong>Did you just start this sign-in yourself?</strong> The answer \
             goes to a program on this computer, and any program here can use that name. If you did not start it, \
             choose Deny.</p>"
        } else {
            ""
        };
        format!(
            "<h1>{title}</h1>\
             <p class=\"soft\">You are asked by <strong>{server}</strong>. Next you sign in at Microsoft Entra.</p>\
             <dl><div><dt>Application</dt><dd><bdi>{name}</bdi><br><span class=\"soft\">{origin_of_name}</span>\
             </dd></div>\
             <div><dt>Sends you back to</dt><dd><strong>{place}</strong><br><code>{redirect_uri}</code></dd></div>\
             </dl>\
             <form method=\"post\" action=\"/consent\">\
             <h2>It will be able to</h2><ul>{rights}</ul>\
             {warning}\
             <input type=\"hidden\" name=\"request\" value=\"{request}\">\
             <input type=\"hidden\" name=\"csrf\" value=\"{csrf}\">\
             <div class=\"answers\">\
             <button class=\"allow\" type=\"submit\" name=\"decision\" value=\"allow\">Allow</button>\
             <button type=\"submit\" name=\"decision\" value=\"deny\">Deny</button></div></form>\
             <details><summary>Details</summary>\
             <p>Permissions here: <code>{scopes}</code></p>\
             <p>Permissions at Microsoft Entra: <code>{entra_scope}</code></p>\
             <p>Client id: <code>{client_id}</code></p></details>",
            title = escape(title),
            server = escape(self.server_host),
            name = escape(&self.client_name()),
            place = escape(&place),
            redirect_uri = escape(self.redirect_uri),
            request = escape(self.request),
            csrf = escape(self.csrf),
            scopes = self.scopes,
            entra_scope = escape(self.entra_scope),
            client_id = escape(&shorten(&self.client.id)),
        )
    }

    /// Chromium applies `form-action` to every redirect that follows the form: to Entra, and, for a user who
    /// is signed in there, on to our callback and to the client. Entra may send the browser through the
    /// https address of a federated identity provider that nobody here knows, hence `https:`. The directive
    /// still stops plain http and other schemes, and there is no way for markup into this page.
    fn form_action(&self) -> String {
        let mut sources = "'self' https:".to_owned();
        for url in [Some(self.entra.clone()), Url::parse(self.redirect_uri).ok()]
            .into_iter()
            .flatten()
        {
            if url.scheme() != "https" {
                // Writing into a String cannot fail.
                let _ = write!(sources, " {}", source(&url));
            }
        }
        sources
    }
}

/// A source of a policy. IPv6 addresses have no form there (CSP 3, section 2.3.1), so their scheme stands in.
fn source(url: &Url) -> String {
    match url.host() {
        Some(url::Host::Domain(_) | url::Host::Ipv4(_)) if url.scheme() == "http" => {
            url.origin().ascii_serialization()
        }
        _ => format!("{}:", url.scheme()),
    }
}

/// True when any program of the user's machine may be the one that gets the code.
fn leads_to_local_program(url: &Url) -> bool {
    url.scheme() != "https" || is_loopback(url) || is_relay(url)
}

/// Where a redirect URI leads, in words.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" if is_relay(url) => format!("a program on this computer (through {host})"),
        "https" if !is_loopback(url) => host.to_owned(),
        _ if is_loopback(url) => format!("a program on this computer ({host})"),
        scheme => format!("the program that opens {scheme} links on this computer"),
    }
}

/// A page that says what went wrong and what to do next.
pub(super) fn error(status: StatusCode, title: &str, text: &str) -> Response {
    let body = format!("<h1>{}</h1><p>{}</p>", escape(title), escape(text));
    response(status, title, &body, "'none'")
}

/// A request that cannot even be answered to its client.
pub(super) fn refused(refused: PageError) -> Response {
    let (status, text) = match refused {
        PageError::Client(ClientError::Unavailable) => return unavailable(),
        PageError::Client(ClientError::Unknown) => (
            StatusCode::BAD_REQUEST,
            "The application uses a client id that this server did not give out. Make it forget the server and add \
             it again, so that it registers anew.",
        ),
        PageError::ForeignRedirectUri => (
            StatusCode::BAD_REQUEST,
            "The application wants the answer at an address that it did not register. Nothing was sent there. If \
             you did not start this sign-in, close the page.",
        ),
        PageError::ClientId | PageError::RedirectUri | PageError::Parameters => (
            StatusCode::BAD_REQUEST,
            "The application's request is incomplete. Start the sign-in again; if this page comes back, its author \
             has to mend it.",
        ),
    };
    tracing::info!(reason = %refused, "Refused an authorization request: {refused}");
    error(status, "This sign-in cannot go on", text)
}

/// Something is missing for the moment.
pub(super) fn unavailable() -> Response {
    let mut response = error(
        StatusCode::SERVICE_UNAVAILABLE,
        "This server is busy",
        "It cannot finish the sign-in at the moment. Reload this page in a minute.",
    );
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("60"));
    response
}

/// What cannot happen, said without a panic.
pub(super) fn defect() -> Response {
    tracing::error!("An answer could not be built: this is a defect of the sidecar");
    error(
        StatusCode::SERVICE_UNAVAILABLE,
        "This sign-in cannot go on",
        "The server could not build its answer. Start the sign-in again and tell its administrator.",
    )
}

fn response(status: StatusCode, title: &str, body: &str, form_action: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>",
        title = escape(title)
    );
    let policy = format!(
        "default-src 'none'; style-src {style}; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'",
        style = *STYLE_SOURCE
    );
    let Ok(policy) = HeaderValue::from_str(&policy) else {
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

/// Text for HTML, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A name on one line, without characters that no one sees or that turn the direction of what follows.
fn plain(name: &str) -> String {
    let visible = name
        .chars()
        .map(|character| if character.is_whitespace() { ' ' } else { character });
    let visible: String = visible
        .filter(|character| !is_invisible(*character))
        .take(80)
        .collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// The ids of registered clients are long and say nothing to people.
fn shorten(id: &str) -> String {
    match id.char_indices().nth(32) {
        Some((end, _)) => format!("{}…", id.get(..end).unwrap_or_default()),
        None => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape("<a href=\"x\" id='y'>&</a>"),
            "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;&lt;/a&gt;"
        );
    }

    #[test]
    fn names_hold_nothing_that_no_one_sees() {
        assert_eq!(plain(" Cur\u{202e}sor\n\u{200b} IDE\0 "), "Cursor IDE");
        assert_eq!(plain(&"x".repeat(200)).len(), 80);
    }

    #[test]
    fn policies_name_loopback_addresses_and_private_schemes() {
        let of = |text: &str| source(&Url::parse(text).unwrap());
        assert_eq!(of("http://localhost:3118/callback"), "http://localhost:3118");
        assert_eq!(of("http://127.0.0.1/callback"), "http://127.0.0.1");
        assert_eq!(of("http://[::1]:99/callback"), "http:");
        assert_eq!(of("cursor://anysphere.cursor-mcp/oauth/callback"), "cursor:");
    }
}
