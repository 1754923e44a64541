//! The proxy through which the Pods of an installation reach hosts outside of the cluster.
//!
//! The rules about which addresses it serves are here, because the operator opens the network for it, and both programs of
//! a Pod use it.

mod direct_hosts;
mod error;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

pub use self::direct_hosts::DirectHosts;
pub use self::error::EgressProxyError;
use crate::cluster_hosts::is_inside_cluster;

/// The proxy of the installation, for https addresses. Programs open a tunnel with CONNECT, so that the proxy sees the
/// host and the port, and nothing of the TLS connection in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressProxy {
    /// The address of the proxy: `http://host:port`.
    pub https: ProxyAddress,

    /// The hosts that are reached without it, beside loopback and Services of the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_proxy: Vec<DirectHosts>,
}

impl EgressProxy {
    /// Returns the proxy's address if a request to `url` goes through it.
    ///
    /// Requests without TLS, to loopback, to Services of the cluster, and to names without a dot never do.
    pub fn proxy_for(&self, url: &Url) -> Option<&Url> {
        let host = url.host()?;
        let direct = url.scheme() != "https"
            || is_inside_cluster(&host)
            || self.no_proxy.iter().any(|hosts| hosts.contains(&host));
        (!direct).then_some(&self.https.0)
    }
}

/// The address of a proxy: an http origin without user and password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProxyAddress(Url);

impl ProxyAddress {
    /// The address as a URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The origin without a slash at its end.
    pub fn origin(&self) -> String {
        self.0.as_str().trim_end_matches('/').to_owned()
    }
}

impl FromStr for ProxyAddress {
    type Err = EgressProxyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| EgressProxyError::Address)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressProxyError::Credentials);
        }
        let is_origin =
            url.has_host() && url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "http" || !is_origin {
            return Err(EgressProxyError::Address);
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for ProxyAddress {
    type Error = EgressProxyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ProxyAddress> for String {
    fn from(address: ProxyAddress) -> Self {
        address.origin()
    }
}

impl fmt::Debug for ProxyAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(no_proxy: &[&str]) -> EgressProxy {
        EgressProxy {
            https: "http://proxy.corp.example:3128".parse().unwrap(),
            no_proxy: no_proxy.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn is_served(proxy: &EgressProxy, url: &str) -> bool {
        proxy.proxy_for(&Url::parse(url).unwrap()).is_some()
    }

    #[test]
    fn https_addresses_outside_of_the_cluster_are_reached_through_the_proxy() {
        for url in [
            "https://login.microsoftonline.com/x",
            "https://dev.azure.com:8443",
            "https://93.184.215.14",
            "https://10.0.0.1",
            "https://svc.contoso.example",
            "https://a.b.svc.evil.example",
            "https://a.b.svc.cluster.local.evil.example",
            "https://b.svc",
            "https://a.notsvc",
        ] {
            let proxy = proxy(&[]);
            assert_eq!(
                proxy.proxy_for(&Url::parse(url).unwrap()).unwrap().as_str(),
                "http://proxy.corp.example:3128/"
            );
        }
    }

    #[test]
    fn loopback_services_and_addresses_without_tls_are_never_reached_through_the_proxy() {
        for url in [
            "http://otel.contoso.example:4318",
            "https://localhost",
            "https://a.localhost",
            "https://127.0.0.1",
            "https://[::1]",
            "https://[::ffff:127.0.0.1]",
            "https://0.0.0.0",
            "https://[::]",
            "https://[::ffff:0.0.0.0]",
            "https://entra",
            "https://entra.identity.svc",
            "https://entra.identity.svc.cluster.local:8443",
            "https://entra.identity.svc.cluster.local.",
            "https://entra-0.entra.identity.svc",
            "https://10-0-0-7.identity.pod.cluster.local",
        ] {
            assert!(!is_served(&proxy(&[]), url), "{url}");
        }
    }

    #[test]
    fn an_entry_of_the_list_excludes_a_domain_the_names_below_it_or_a_network() {
        let proxy = proxy(&[
            "corp.example",
            ".below.example",
            "10.0.0.0/8",
            "192.0.2.7",
            "fd00::/8",
        ]);
        for url in [
            "https://corp.example",
            "https://a.b.corp.example",
            "https://a.below.example",
            "https://10.1.2.3",
            "https://[::ffff:10.1.2.3]",
            "https://192.0.2.7",
            "https://[fd00::7]",
        ] {
            assert!(!is_served(&proxy, url), "{url}");
        }
        for url in [
            "https://notcorp.example",
            "https://corp.example.evil.example",
            "https://below.example",
            "https://notbelow.example",
            "https://11.1.2.3",
            "https://[::ffff:11.1.2.3]",
            "https://192.0.2.8",
            "https://[fe80::7]",
        ] {
            assert!(is_served(&proxy, url), "{url}");
        }
    }

    #[test]
    fn an_address_with_a_password_is_refused_and_not_repeated() {
        for text in [
            "http://user:hunter2@proxy.corp.example:3128",
            "http://hunter2@proxy:3128",
        ] {
            let error = text.parse::<ProxyAddress>().unwrap_err();
            assert_eq!(error, EgressProxyError::Credentials);
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn an_address_that_is_no_http_origin_is_refused() {
        for text in [
            "proxy.corp.example:3128",
            "https://proxy.corp.example:3128",
            "socks5://proxy.corp.example:1080",
            "http://proxy.corp.example:3128/path",
            "http://proxy.corp.example:3128?x=1",
            "",
        ] {
            assert_eq!(
                text.parse::<ProxyAddress>(),
                Err(EgressProxyError::Address),
                "{text}"
            );
        }
    }

    #[test]
    fn the_file_has_the_texts_that_the_administrator_wrote() {
        let list = [
            "corp.example",
            ".below.example",
            "10.0.0.0/8",
            "192.0.2.7",
            "fd00::/8",
        ];
        let yaml = serde_json::to_value(proxy(&list)).unwrap();
        assert_eq!(
            yaml,
            serde_json::json!({"https": "http://proxy.corp.example:3128", "noProxy": list})
        );
        assert_eq!(serde_json::from_value::<EgressProxy>(yaml).unwrap(), proxy(&list));
    }
}
