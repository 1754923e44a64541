//! MCP clients.

use url::{Host, Url};

use super::address::origin;
use super::refuse;
use crate::api::v1alpha1::StaticClient;
use crate::controller::validate::Refusal;

pub(crate) fn redirect_hosts(hosts: &[String], refusals: &mut Vec<Refusal>) {
    for host in hosts {
        if origin(&format!("https://{host}")).and_then(|url| url.host_str().map(|parsed| parsed == host))
            != Some(true)
        {
            refuse(
                refusals,
                "clients.allowedRedirectHosts",
                format!("must hold hosts alone, in lower case; {host:?} is none"),
            );
        }
    }
}

pub(crate) fn static_clients(clients: &[StaticClient], refusals: &mut Vec<Refusal>) {
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
        for uri in client.redirect_uris.iter().filter(|uri| !is_redirect_uri(uri)) {
            refuse(
                refusals,
                "clients.static",
                format!(
                    "must have redirect URIs with https, or http on a loopback host, without fragment or user; {uri:?} \
                     of {:?} is none",
                    client.client_id
                ),
            );
        }
    }
}

fn is_redirect_uri(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let loopback = match url.host() {
        Some(Host::Domain(host)) => host == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    // RFC 6749, section 3.1.2: absolute, without fragment.
    scheme
        && url.has_host()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}
