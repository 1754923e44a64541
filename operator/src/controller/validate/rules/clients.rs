//! The rules for MCP clients.

use behalf_contract::redirect_uri::{self, is_loopback, is_vendor, is_vendor_callback};
use url::Url;

use super::address::origin;
use super::installation_policy::redirect_host;
use super::refuse;
use crate::api::v1alpha1::StaticClient;
use crate::controller::validate::Refusal;
use crate::controller::validate::installation_policy::Allowed;

/// Validates the hosts that redirect URIs of registering clients may name.
pub(crate) fn redirect_hosts(hosts: &[String], allowed: &Allowed, refusals: &mut Vec<Refusal>) {
    let field = "clients.additionalRedirectHosts";
    for host in hosts {
        // The sidecar accepts only the vendor's own callback on a vendor's host.
        if let Some(url) = host_only(field, host, refusals)
            && !is_vendor(&url)
        {
            redirect_host(field, &url, allowed, refusals);
        }
    }
}

/// Validates the hosts whose metadata documents the sidecar reads. It sends them nothing but a GET request, so that the
/// installation need not allow them.
pub(crate) fn document_hosts(hosts: &[String], refusals: &mut Vec<Refusal>) {
    for host in hosts {
        host_only("clients.metadataDocuments.allowedHosts", host, refusals);
    }
}

/// Returns the https address of a host, which must be the name of a host and nothing else.
fn host_only(field: &'static str, host: &str, refusals: &mut Vec<Refusal>) -> Option<Url> {
    let url = origin(&format!("https://{host}")).filter(|url| url.host_str() == Some(host));
    if url.is_none() {
        let problem =
            format!("must contain hosts without scheme, port and path, in lower case; {host:?} is none");
        refuse(refusals, field, problem);
    }
    url
}

/// Validates the https redirect URIs of a client that the object registers. The sidecar sends authorization
/// codes to them, so each must be a known vendor's callback or on a host that the installation allows.
pub(crate) fn static_clients(clients: &[StaticClient], allowed: &Allowed, refusals: &mut Vec<Refusal>) {
    for (index, client) in clients.iter().enumerate() {
        if clients
            .iter()
            .take(index)
            .any(|other| other.client_id == client.client_id)
        {
            refuse(
                refusals,
                "clients.static",
                format!("must not name the client {:?} twice", client.client_id),
            );
        }
        for uri in &client.redirect_uris {
            // The sidecar has the same rule, and does not start with another URI.
            if let Err(problem) = redirect_uri::check_static(uri) {
                refuse(
                    refusals,
                    "clients.static",
                    format!(
                        "must have redirect URIs with https, or http on 127.0.0.1, [::1] or localhost, as the URL standard \
                         writes them; {uri:?} of {:?} {problem}",
                        client.client_id
                    ),
                );
                continue;
            }
            if let Ok(url) = Url::parse(uri)
                && url.scheme() == "https"
                && !is_loopback(&url)
                && !is_vendor_callback(&url)
            {
                redirect_host("clients.static", &url, allowed, refusals);
            }
        }
    }
}
