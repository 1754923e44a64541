//! The rules for addresses, and for the owner of `publicUrl`.

use ipnet::IpNet;
use url::{Host, Url};

use super::refuse;
use crate::api::v1alpha1::McpServer;
use crate::controller::dereference::cluster_state::ClusterState;
use crate::controller::public_url::other_owner;
use crate::controller::validate::Refusal;
use crate::controller::validate::installation_policy::Namespaces;

/// Validates the public address. It is the OAuth issuer, which clients compare as text, so it has exactly one spelling.
pub(crate) fn public_url(text: &str, refusals: &mut Vec<Refusal>) -> Option<Url> {
    let url = origin(text).filter(|url| match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(host))) => host == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    });
    if url.is_none() {
        refuse(
            refusals,
            "publicUrl",
            "must be an origin in lower case without path, trailing slash or default port: https://<host>[:port], \
             or http:// on localhost, 127.0.0.1 or [::1]",
        );
    }
    url
}

/// Validates an address that tokens are sent to.
pub(crate) fn https_origin(field: &'static str, text: &str, refusals: &mut Vec<Refusal>) -> Option<Url> {
    let url = origin(text).filter(|url| url.scheme() == "https");
    if url.is_none() {
        refuse(
            refusals,
            field,
            "must be https://<host>[:port] in lower case, without path, trailing slash or default port",
        );
    }
    url
}

/// Returns the networks of proxies whose `X-Forwarded-For` header names the client.
pub(crate) fn trusted_proxies(texts: &[String], refusals: &mut Vec<Refusal>) -> Vec<IpNet> {
    let mut networks = Vec::with_capacity(texts.len());
    for text in texts {
        match text.parse::<IpNet>() {
            // Clients' addresses are compared in their IPv4 form, so that such a network contains none of them.
            Ok(IpNet::V6(network)) if network.addr().to_ipv4_mapped().is_some() => refuse(
                refusals,
                "trustedProxies",
                format!(
                    "must name networks of IPv4 in the form of IPv4, such as 10.0.0.0/8 for ::ffff:10.0.0.0/104; {text:?} has the \
                     form of IPv6"
                ),
            ),
            Ok(network) if network.prefix_len() > 0 && network.trunc() == network => networks.push(network),
            Ok(network) if network.prefix_len() == 0 => refuse(
                refusals,
                "trustedProxies",
                format!(
                    "must not contain {text:?}: every client could then claim any address; name your gateways' networks"
                ),
            ),
            _ => refuse(
                refusals,
                "trustedProxies",
                format!(
                    "must contain networks such as 10.0.0.0/8, without bits after the prefix; {text:?} is none"
                ),
            ),
        }
    }
    networks
}

/// Returns the URL if `text` is exactly its canonical origin.
pub(super) fn origin(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (url.has_host() && url.origin().ascii_serialization() == text).then_some(url)
}

/// Refuses an address that an older live object owns. Objects of namespaces that may not use the address do not count.
pub(crate) fn public_url_owner(
    server: &McpServer,
    url: &Url,
    found: &ClusterState,
    namespaces: &Namespaces,
    refusals: &mut Vec<Refusal>,
) {
    let claims = found
        .other_claims
        .iter()
        .filter(|claim| namespaces.allow_public_url(&claim.namespace, url));
    if let Some(owner) = other_owner(server, claims) {
        refusals.push(Refusal::PublicUrlTaken {
            namespace: owner.namespace.clone(),
            name: owner.name.clone(),
        });
    }
}
