//! The address of a client: the peer's, or the one that a trusted proxy reports.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of proxies whose `X-Forwarded-For` is trusted.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts these networks.
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.to_vec())
    }

    /// Returns the address of a request's client: the rightmost one that is not a trusted proxy's. Every proxy
    /// appends the address that it saw, so the client itself may have written the entries further left. Returns
    /// `None` when no proxy is trusted, because the peer may then be a gateway that all clients share, and when the
    /// connection has no known peer.
    pub fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        if self.0.is_empty() {
            return None;
        }
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        let mut client = peer.ip().to_canonical();
        let entries = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .rev()
            .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for entry in entries {
            if !self.trusts(client) {
                break;
            }
            // Parses each entry alone: an invalid entry of the client must not hide the gateway's entry.
            let Some(address) = std::str::from_utf8(entry.trim_ascii()).ok().and_then(parse) else {
                break;
            };
            client = address;
        }
        Some(client)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Parses an entry of `X-Forwarded-For`. Some gateways (Azure Application Gateway) write the port, too.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(entry).parse().ok();
    let address = address.or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::no_proxy("198.51.100.7", &[], "198.51.100.7")]
    #[case::a_header_of_an_untrusted_peer_is_ignored("198.51.100.7", &["192.0.2.1"], "198.51.100.7")]
    #[case::one_proxy("10.0.0.1", &["192.0.2.1"], "192.0.2.1")]
    #[case::an_entry_of_the_client_is_ignored("10.0.0.1", &["203.0.113.9, 192.0.2.1"], "192.0.2.1")]
    #[case::two_proxies("10.0.0.1", &["203.0.113.9, 192.0.2.1, 10.0.0.2"], "192.0.2.1")]
    #[case::two_headers("10.0.0.1", &["203.0.113.9, 192.0.2.1", "10.0.0.2"], "192.0.2.1")]
    #[case::only_proxies("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3")]
    #[case::an_invalid_entry_ends_the_search("10.0.0.1", &["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2")]
    #[case::not_ascii_stays_left("10.0.0.1", &["é, 192.0.2.1"], "192.0.2.1")]
    #[case::empty("10.0.0.1", &[""], "10.0.0.1")]
    #[case::port("10.0.0.1", &["192.0.2.1:55555"], "192.0.2.1")]
    #[case::ipv6("fd00::1", &["2001:db8::1"], "2001:db8::1")]
    #[case::ipv6_in_brackets("fd00::1", &["[2001:db8::1]"], "2001:db8::1")]
    #[case::ipv6_with_port("fd00::1", &["[2001:db8::1]:443"], "2001:db8::1")]
    #[case::mapped_peer("::ffff:10.0.0.1", &["192.0.2.1"], "192.0.2.1")]
    fn the_rightmost_untrusted_address_is_the_client(
        #[case] peer: &str,
        #[case] forwarded: &[&str],
        #[case] expected: &str,
    ) {
        let trusted = TrustedProxies::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let mut extensions = Extensions::new();
        let peer: IpAddr = peer.parse().unwrap();
        extensions.insert(ConnectInfo(SocketAddr::new(peer, 40_000)));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(
                X_FORWARDED_FOR,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let expected: IpAddr = expected.parse().unwrap();
        assert_eq!(trusted.client(&extensions, &headers), Some(expected));
        // Without trusted proxies the peer may be a gateway that all clients share.
        assert_eq!(TrustedProxies::default().client(&extensions, &headers), None);
    }
}
