//! The list of hosts that are reached without the proxy.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::Host;

use super::error::EgressProxyError;

/// An entry of the list of hosts that are reached without the proxy. The forms and their meaning are those of `NO_PROXY` in
/// Go and curl, without `*` and without ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DirectHosts {
    /// Addresses: `10.0.0.0/8`, or one address. Names are not resolved for it.
    Network(IpNet),

    /// A name, and every name below it: `contoso.example`.
    Domain(String),

    /// Every name below this one, and not the name itself: `.contoso.example`. Kept without the first dot.
    Below(String),
}

impl DirectHosts {
    pub(super) fn contains(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::Network(network), Host::Ipv4(address)) => network.contains(&IpAddr::V4(*address)),
            // `::ffff:10.0.0.1` is 10.0.0.1.
            (Self::Network(network), Host::Ipv6(address)) => {
                network.contains(&IpAddr::V6(*address)) || network.contains(&address.to_canonical())
            }
            (Self::Domain(domain), Host::Domain(name)) => name == domain || is_below(name, domain),
            (Self::Below(domain), Host::Domain(name)) => is_below(name, domain),
            _ => false,
        }
    }
}

impl FromStr for DirectHosts {
    type Err = EgressProxyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        let (is_below, name) = match text.strip_prefix('.') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let is_name = matches!(Host::parse(name), Ok(Host::Domain(parsed)) if parsed == name)
            && !name.ends_with('.')
            && !name.contains('*');
        match (is_name, is_below) {
            (true, true) => Ok(Self::Below(name.to_owned())),
            (true, false) => Ok(Self::Domain(name.to_owned())),
            (false, _) => Err(EgressProxyError::DirectHosts(text.to_owned())),
        }
    }
}

impl TryFrom<String> for DirectHosts {
    type Error = EgressProxyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DirectHosts> for String {
    fn from(hosts: DirectHosts) -> Self {
        hosts.to_string()
    }
}

impl fmt::Display for DirectHosts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                write!(formatter, "{}", network.addr())
            }
            Self::Network(network) => write!(formatter, "{network}"),
            Self::Domain(name) => formatter.write_str(name),
            Self::Below(name) => write!(formatter, ".{name}"),
        }
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    let rest = name.strip_suffix(parent);
    rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_would_match_nothing_is_refused() {
        for text in [
            "*",
            "*.corp.example",
            "https://corp.example",
            "corp.example:443",
            "Corp.example",
            "10.0.0.0/33",
            ".",
        ] {
            assert!(text.parse::<DirectHosts>().is_err(), "{text}");
        }
    }
}
