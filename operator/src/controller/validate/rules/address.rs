//! Addresses, and who has which.

use ipnet::IpNet;
use kube::ResourceExt as _;
use url::{Host, Url};

use super::refuse;
use crate::api::v1alpha1::McpServer;
use crate::controller::accepted::Accepted;
use crate::controller::found::Found;
use crate::controller::validate::Refusal;

/// The OAuth issuer: compared as text by clients, so it has exactly one spelling.
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

/// Where tokens are sent.
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

/// The networks of proxies whose `X-Forwarded-For` names the client.
pub(crate) fn trusted_proxies(texts: &[String], refusals: &mut Vec<Refusal>) -> Vec<IpNet> {
    let mut networks = Vec::with_capacity(texts.len());
    for text in texts {
        match text.parse::<IpNet>() {
            Ok(network) if network.prefix_len() > 0 && network.trunc() == network => networks.push(network),
            Ok(network) if network.prefix_len() == 0 => refuse(
                refusals,
                "trustedProxies",
                format!(
                    "must not hold {text:?}: every client could name any address; name your gateways' networks"
                ),
            ),
            _ => refuse(
                refusals,
                "trustedProxies",
                format!(
                    "must hold networks such as 10.0.0.0/8, without bits behind the prefix; {text:?} is none"
                ),
            ),
        }
    }
    networks
}

/// The URL when `text` is its canonical origin, to the letter.
pub(super) fn origin(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (url.has_host() && url.origin().ascii_serialization() == text).then_some(url)
}

/// An address belongs to the object that was accepted with it, whatever becomes of that object's spec. Nobody
/// loses it to an object that was refused, however old. Where none was accepted yet, the oldest is judged first, if
/// that takes no longer than others have to wait. What this operator gave it itself outweighs every record: those
/// can be forged, and what stands in them can be lost.
pub(crate) fn claims(server: &McpServer, found: &Found, refusals: &mut Vec<Refusal>) {
    let is_its_own = |accepted: &Accepted| accepted.public_url == server.spec.public_url;
    if found.remembered.as_ref().is_some_and(is_its_own) {
        return;
    }
    let own = (server.creation_timestamp().map(|time| time.0), server.uid());
    let accepted = Accepted::by_both(server, found.live.deployment.as_deref());
    let accepted = accepted.as_ref().is_some_and(is_its_own);
    let before = found
        .claims
        .iter()
        .filter(|claim| {
            let older = (claim.created_at, Some(claim.uid.clone())) < own;
            match (claim.accepted, accepted) {
                (true, false) => true,
                // Whatever let both in, one has to go.
                (true, true) => older && claim.readable,
                (false, true) => false,
                (false, false) => older && !claim.judged && !found.has_waited,
            }
        })
        .min_by_key(|claim| (!claim.accepted, claim.created_at, claim.uid.clone()));
    if let Some(claim) = before {
        let (namespace, name) = (claim.namespace.clone(), claim.name.clone());
        refusals.push(if claim.accepted {
            Refusal::PublicUrlTaken { namespace, name }
        } else {
            Refusal::PublicUrlAwaited { namespace, name }
        });
    }
}
