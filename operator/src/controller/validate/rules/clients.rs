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
        match origin(&format!("https://{host}")).filter(|url| url.host_str() == Some(host.as_str())) {
            // The sidecar accepts only the vendor's own callback on such a host.
            Some(url) if is_vendor(&url) => {}
            Some(url) => redirect_host(field, &url, allowed, refusals),
            None => refuse(
                refusals,
                field,
                format!("must contain hosts without scheme, port and path, in lower case; {host:?} is none"),
            ),
        }
    }
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
