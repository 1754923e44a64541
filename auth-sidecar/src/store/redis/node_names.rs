//! The names under which the nodes of a cluster are reached with TLS (ADR 0052).
//!
//! Nodes announce addresses. The certificate of a managed cluster names its host alone: Azure Managed Redis answers
//! `CLUSTER SLOTS` with the address of its host and other ports (`redis-rs#1963`). Such a node is reached under the name of
//! the endpoint.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use ::redis::cluster::NodeAddress;
use futures::future;
use tokio::time::timeout;
use url::Url;

/// The addresses of endpoints that have a name.
#[derive(Debug, Default)]
pub(super) struct NamesByAddress(HashMap<IpAddr, String>);

impl NamesByAddress {
    /// Finds the addresses of the endpoints. A name that does not resolve within `limit` is left out: connecting to it reports the
    /// error.
    pub(super) async fn of(endpoints: &[Url], limit: Duration) -> Self {
        let lookups = endpoints.iter().map(async |endpoint| {
            let (host, port) = (endpoint.host_str().unwrap_or_default(), endpoint.port());
            let lookup = tokio::net::lookup_host((host, port.unwrap_or_default()));
            let found = timeout(limit, lookup).await.into_iter().flatten().flatten();
            (host, found.map(|address| address.ip()).collect())
        });
        let mut names = Self::default();
        for (host, addresses) in future::join_all(lookups).await {
            names.add(host, &addresses);
        }
        names
    }

    /// A name with several addresses of one family may lead to any of them, so that no node has it alone.
    fn add(&mut self, host: &str, addresses: &BTreeSet<IpAddr>) {
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return;
        }
        for is_ipv4 in [true, false] {
            let mut family = addresses.iter().filter(|address| address.is_ipv4() == is_ipv4);
            if let (Some(only), None) = (family.next(), family.next()) {
                self.0.entry(*only).or_insert_with(|| host.to_owned());
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the name and port at which each of these nodes is reached. A node without a name is left out.
    pub(super) fn of_nodes(&self, nodes: Vec<(String, u16)>) -> HashMap<NodeAddress, NodeAddress> {
        let named = nodes.into_iter().filter_map(|(host, port)| {
            let name = self.0.get(&host.parse::<IpAddr>().ok()?)?;
            Some((
                NodeAddress::new(host, port),
                NodeAddress::new(name.as_str(), port),
            ))
        });
        named.collect()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::only_address("redis.example", &["10.0.0.1"], Some("redis.example:8501"))]
    #[case::one_of_each_family("redis.example", &["10.0.0.1", "fd00::1"], Some("redis.example:8501"))]
    #[case::one_of_several("redis.example", &["10.0.0.1", "10.0.0.2"], None)]
    #[case::another_address("redis.example", &["10.0.0.9"], None)]
    #[case::unknown_name("redis.example", &[], None)]
    #[case::no_name("10.0.0.1", &["10.0.0.1"], None)]
    fn a_node_has_the_name_whose_only_address_it_announces(
        #[case] host: &str,
        #[case] addresses: &[&str],
        #[case] expected: Option<&str>,
    ) {
        let mut names = NamesByAddress::default();
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        names.add(host, &addresses.collect());
        let nodes = vec![("10.0.0.1".to_owned(), 8501), ("node.example".to_owned(), 8501)];
        let named = names.of_nodes(nodes);
        let name = named.get(&NodeAddress::new("10.0.0.1", 8501));
        assert_eq!(name.map(ToString::to_string).as_deref(), expected);
        assert_eq!(named.len(), usize::from(expected.is_some()));
    }
}
