//! The consent page.

use std::fmt::Write as _;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use behalf_contract::{BUILT_IN_TOOLS, ServerKind, Toolset};
use url::Url;

use super::{Frame, application_name, respond};
use crate::access::Scopes;
use crate::clients::{Client, ClientKind, is_loopback, is_relay, leads_to_local_program};
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
    service: String,
    destination: String,
    name: String,
    origin_of_name: String,
    request: &'a str,
    csrf: &'a str,
    read: String,
    run: Option<&'static str>,
    local: bool,
    redirect_uri: &'a str,
    scopes: Scopes,
    entra_scope: &'a str,
    /// The whole id, which an administrator copies to `spec.clients.denied`.
    client_id: &'a str,
}

impl ConsentPage<'_> {
    pub(in crate::oauth) fn respond(self, services: &Services) -> Response {
        let frame = Frame::new(services);
        tracing::info!(page.reference = %frame.reference, "Asked a user for consent");
        let redirect = Url::parse(self.redirect_uri).ok();
        let (service, read, run) = match &services.config.access.server {
            ServerKind::AzureDevOps { organization } => (
                "Azure DevOps".to_owned(),
                format!(
                    "Read your {} in Azure DevOps organization {organization}",
                    readable(&services.config.access.read_only_tools)
                ),
                "Start pipeline runs there in your name",
            ),
            // Nobody here knows what its tools do.
            ServerKind::Container => (
                format!("the MCP server {}", services.addresses.host()),
                "See its tools, and read its resources and prompts with your rights".to_owned(),
                "Run its tools in your name, also those that change something",
            ),
        };
        let form_action = self.form_action();
        let page = ConsentTemplate {
            frame,
            service,
            destination: redirect.as_ref().map(destination).unwrap_or_default(),
            name: application_name::shown(self.client.name.as_deref()),
            origin_of_name: origin_of_name(self.client),
            request: self.request,
            csrf: self.csrf,
            read,
            run: self.scopes.run.then_some(run),
            local: redirect.as_ref().is_some_and(leads_to_local_program),
            redirect_uri: self.redirect_uri,
            scopes: self.scopes,
            entra_scope: &services.entra_scope,
            client_id: &self.client.id,
        };
        respond(StatusCode::OK, &page, &form_action)
    }

    /// Returns the sources for `form-action`. Chromium applies the directive to every redirect after the form: to
    /// Entra, and for a signed-in user on to the callback and the client. Entra may redirect the browser to a
    /// federated identity provider at any https address, so `https:` is allowed. Plain http and other schemes
    /// stay forbidden.
    fn form_action(&self) -> String {
        let mut sources = "'self' https:".to_owned();
        for url in [Some(self.entra.clone()), Url::parse(self.redirect_uri).ok()]
            .into_iter()
            .flatten()
        {
            if url.scheme() != "https" {
                // Writing to a String cannot fail.
                let _ = write!(sources, " {}", source(&url));
            }
        }
        sources
    }
}

/// Returns what the offered tools read.
fn readable(tools: &[String]) -> &'static str {
    let offers = |toolset| {
        let mut of_toolset = BUILT_IN_TOOLS.iter().filter(|tool| tool.toolset == toolset);
        of_toolset.any(|tool| tools.iter().any(|name| name == tool.name))
    };
    match (offers(Toolset::Pipelines), offers(Toolset::Releases)) {
        (true, false) => "pipelines, runs and logs",
        (false, true) => "classic releases and their deployments",
        _ => "pipelines, runs, logs and deployments",
    }
}

/// Says who vouches for the client's name.
fn origin_of_name(client: &Client) -> String {
    match (client.kind, client.document_host()) {
        (_, Some(host)) => {
            format!("{host} describes the application; trust the name only if you trust {host}")
        }
        (ClientKind::Static, _) => "Registered by the administrator of this server".to_owned(),
        (ClientKind::Registered | ClientKind::Document, None) => {
            "The application chose this name itself; nobody has verified it".to_owned()
        }
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

/// Describes in words where a redirect URI leads.
fn destination(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" if is_relay(url) => format!("a program on this computer (through {host})"),
        "https" if !is_loopback(url) => host.to_owned(),
        _ if is_loopback(url) => format!("a program on this computer ({host})"),
        scheme => format!("the program that opens {scheme} links on this computer"),
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
