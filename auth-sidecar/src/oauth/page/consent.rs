//! The consent page.

use std::fmt::Write as _;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use behalf_contract::ServerKind;
use url::Url;

use super::{Frame, application_name, respond};
use crate::access::Scopes;
use crate::clients::{Client, ClientKind, is_loopback, is_relay};
use crate::services::Services;

/// The content of the consent page.
pub(in crate::oauth) struct ConsentPage<'a> {
    pub(in crate::oauth) client: &'a Client,
    pub(in crate::oauth) redirect_uri: &'a str,
    pub(in crate::oauth) scopes: Scopes,

    /// The sealed authorization request.
    pub(in crate::oauth) request: &'a str,
    pub(in crate::oauth) csrf: &'a str,

    /// The address of Entra that the browser goes to after the approval.
    pub(in crate::oauth) entra: &'a Url,
}

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentTemplate<'a> {
    frame: Frame<'a>,
    service: &'static str,
    place: String,
    name: String,
    origin_of_name: &'static str,
    request: &'a str,
    csrf: &'a str,
    read: String,
    run: Option<&'static str>,
    local: bool,
    redirect_uri: &'a str,
    scopes: Scopes,
    entra_scope: &'a str,
    client_id: String,
}

impl ConsentPage<'_> {
    pub(in crate::oauth) fn respond(self, server: &Services) -> Response {
        let frame = Frame::new(server);
        tracing::info!(page.reference = %frame.reference, "Asked a user for consent");
        let redirect = Url::parse(self.redirect_uri).ok();
        let (service, read, run) = match &server.config.access.server {
            ServerKind::AzureDevOps { organization } => (
                "Azure DevOps",
                format!(
                    "Read your pipelines, runs, logs and deployments in Azure DevOps organization {organization}"
                ),
                "Start pipeline runs there in your name",
            ),
        };
        let form_action = self.form_action();
        let page = ConsentTemplate {
            frame,
            service,
            place: redirect.as_ref().map(place).unwrap_or_default(),
            name: application_name::shown(self.client.name.as_deref()),
            origin_of_name: match self.client.kind {
                ClientKind::Static => "Registered by the administrator of this server",
                ClientKind::Registered => "It chose this name itself; nobody has checked it",
            },
            request: self.request,
            csrf: self.csrf,
            read,
            run: self.scopes.run.then_some(run),
            local: redirect.as_ref().is_some_and(leads_to_local_program),
            redirect_uri: self.redirect_uri,
            scopes: self.scopes,
            entra_scope: &server.entra_scope,
            client_id: shorten(&self.client.id),
        };
        respond(StatusCode::OK, &page, &form_action)
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

/// Writes a source of a policy. CSP has no form for IPv6 addresses (CSP 3, section 2.3.1), so the scheme is
/// used instead.
fn source(url: &Url) -> String {
    match url.host() {
        Some(url::Host::Domain(_) | url::Host::Ipv4(_)) if url.scheme() == "http" => {
            url.origin().ascii_serialization()
        }
        _ => format!("{}:", url.scheme()),
    }
}

/// True when any program on the user's machine may receive the code.
fn leads_to_local_program(url: &Url) -> bool {
    url.scheme() != "https" || is_loopback(url) || is_relay(url)
}

/// Describes in words where a redirect URI leads.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" if is_relay(url) => format!("a program on this computer (through {host})"),
        "https" if !is_loopback(url) => host.to_owned(),
        _ if is_loopback(url) => format!("a program on this computer ({host})"),
        scheme => format!("the program that opens {scheme} links on this computer"),
    }
}

/// The ids of registered clients are long and mean nothing to users.
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
    fn policies_name_loopback_addresses_and_private_schemes() {
        let of = |text: &str| source(&Url::parse(text).unwrap());
        assert_eq!(of("http://localhost:3118/callback"), "http://localhost:3118");
        assert_eq!(of("http://127.0.0.1/callback"), "http://127.0.0.1");
        assert_eq!(of("http://[::1]:99/callback"), "http:");
        assert_eq!(of("cursor://anysphere.cursor-mcp/oauth/callback"), "cursor:");
    }
}
