//! The address ranges of a local cluster: each cluster has an index, and all ranges follow from it.

use std::net::Ipv4Addr;

/// The largest number of clusters on one machine, and so the end of the indexes.
pub(crate) const MAX_CLUSTERS: u8 = 64;

/// The largest number of nodes of one cluster: its Pod range holds four node ranges.
pub const MAX_NODES: u8 = 4;

/// The addresses and link names of the cluster with one index.
///
/// | range | use |
/// |---|---|
/// | `10.97.i.0/24` | Services |
/// | `10.98.i.0/24` | the host (`.1`) and the nodes (`.10` and up) |
/// | `10.99.4i.0/22` | Pods, `/24` for each node |
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    index: u8,
}

impl Addresses {
    pub(crate) fn new(index: u8) -> Self {
        Self { index }
    }

    /// The machine, as nodes and Pods reach it.
    pub(crate) fn host(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 98, self.index, 1)
    }

    pub(crate) fn node(self, node: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 98, self.index, 10 + node)
    }

    /// The `kubernetes` Service: always the first address of the range.
    pub(crate) fn api_service(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 97, self.index, 1)
    }

    pub(crate) fn dns(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 97, self.index, 10)
    }

    pub(crate) fn services(self) -> Range {
        Range {
            start: Ipv4Addr::new(10, 97, self.index, 0),
            bits: 24,
        }
    }

    pub(crate) fn links(self) -> Range {
        Range {
            start: Ipv4Addr::new(10, 98, self.index, 0),
            bits: 24,
        }
    }

    pub(crate) fn pods(self) -> Range {
        Range {
            start: Ipv4Addr::new(10, 99, 4 * self.index, 0),
            bits: 22,
        }
    }

    pub(crate) fn node_pods(self, node: u8) -> Range {
        Range {
            start: Ipv4Addr::new(10, 99, 4 * self.index + node, 0),
            bits: 24,
        }
    }

    /// The bridge on the host which joins the nodes.
    pub(crate) fn bridge(self) -> String {
        format!("behalf{}", self.index)
    }

    /// The host's end of a node's link.
    pub(crate) fn host_link(self, node: u8) -> String {
        format!("behalf{}n{node}", self.index)
    }

    /// The node's end of its link, before it moves into the node and becomes `eth0`.
    pub(crate) fn node_link(self, node: u8) -> String {
        format!("behalf{}e{node}", self.index)
    }
}

/// A range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    start: Ipv4Addr,
    bits: u8,
}

impl Range {
    /// Reads `10.0.0.0/8`, or a single address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (start, bits) = text.split_once('/').unwrap_or((text, "32"));
        let range = Self {
            start: start.parse().ok()?,
            bits: bits.parse().ok()?,
        };
        (range.bits <= 32).then_some(range)
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        let bits = self.bits.min(other.bits);
        let network = |address: Ipv4Addr| u64::from(address.to_bits()) >> (32 - bits);
        network(self.start) == network(other.start)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.start, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_different_clusters_never_meet() {
        let ranges = |index| {
            let addresses = Addresses::new(index);
            [addresses.services(), addresses.links(), addresses.pods()]
        };
        let all: Vec<Range> = (0..MAX_CLUSTERS).flat_map(ranges).collect();
        for (position, left) in all.iter().enumerate() {
            assert!(
                all[position + 1..].iter().all(|right| !left.overlaps(*right)),
                "{left}"
            );
        }
    }

    #[test]
    fn every_node_range_lies_in_the_pod_range() {
        let addresses = Addresses::new(MAX_CLUSTERS - 1);
        for node in 0..MAX_NODES {
            assert!(addresses.node_pods(node).overlaps(addresses.pods()), "{node}");
        }
    }

    #[test]
    fn link_names_fit_the_kernel() {
        assert!(Addresses::new(MAX_CLUSTERS - 1).host_link(MAX_NODES - 1).len() <= 15);
    }

    #[test]
    fn reads_the_routes_of_a_machine() {
        let range = Range::parse("10.96.0.0/12").unwrap();
        assert!(range.overlaps(Addresses::new(0).services()));
        assert!(!Range::parse("192.0.2.0/24").unwrap().overlaps(range));
        assert!(Range::parse("0.0.0.0/0").unwrap().overlaps(range));
        assert_eq!(Range::parse("default"), None);
    }
}
