//! The decision of a network plugin: whether a `NetworkPolicy` (`networking.k8s.io/v1`) admits a connection.
//!
//! A field that this module does not know is an error, so that no rule counts as narrower or wider than it is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

/// The label of every namespace with its name. The API server adds it.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Labels of a Pod or a namespace.
pub type Labels = BTreeMap<String, String>;

/// Where a connection starts, seen from the Pods that the policy selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Direction {
    /// At a peer.
    Ingress,

    /// At a selected Pod.
    Egress,
}

/// The transport protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// The default of a rule.
    #[default]
    Tcp,

    /// DNS.
    Udp,
}

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A host that is no Pod.
    Address(IpAddr),

    /// A Pod of the cluster.
    Pod {
        /// Its namespace.
        namespace: String,

        /// Its labels.
        labels: Labels,

        /// Its address, for a network plugin whose blocks of addresses contain Pods. For others, such as Cilium, `None`.
        address: Option<IpAddr>,
    },
}

impl Peer {
    /// A Pod with these labels. No block of addresses contains it.
    pub fn pod<'l>(namespace: &str, labels: impl IntoIterator<Item = (&'l str, &'l str)>) -> Self {
        Self::Pod {
            namespace: namespace.to_owned(),
            labels: labels
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            address: None,
        }
    }

    /// Gives the Pod an address, for a network plugin whose blocks of addresses contain Pods.
    #[must_use]
    pub fn at(self, pod_address: IpAddr) -> Self {
        match self {
            Self::Pod {
                namespace, labels, ..
            } => Self::Pod {
                namespace,
                labels,
                address: Some(pod_address),
            },
            Self::Address(address) => Self::Address(address),
        }
    }
}

/// A policy.
#[derive(Debug, Clone, Deserialize)]
pub struct Policy {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Clone, Deserialize)]
struct Metadata {
    namespace: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    pod_selector: Selector,
    policy_types: Vec<Direction>,
    #[serde(default)]
    ingress: Vec<Ingress>,
    #[serde(default)]
    egress: Vec<Egress>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ingress {
    #[serde(default)]
    from: Vec<PeerRule>,
    #[serde(default)]
    ports: Vec<Ports>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Egress {
    #[serde(default)]
    to: Vec<PeerRule>,
    #[serde(default)]
    ports: Vec<Ports>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PeerRule {
    ip_block: Option<Block>,
    namespace_selector: Option<Selector>,
    pod_selector: Option<Selector>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    cidr: IpNet,
    #[serde(default)]
    except: Vec<IpNet>,
}

/// Ports by number. Policies with names of ports are an error here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Ports {
    #[serde(default)]
    protocol: Protocol,
    port: Option<u16>,
    end_port: Option<u16>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selector {
    #[serde(default)]
    match_labels: Labels,
    #[serde(default)]
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Policy {
    /// Reads a `NetworkPolicy`.
    pub fn read(object: &Value) -> Result<Self, serde_json::Error> {
        Self::deserialize(object)
    }

    /// Returns whether the policy is for a Pod of its namespace with these labels.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.spec.pod_selector.matches(labels)
    }

    /// Returns whether the policy admits a connection between a selected Pod and a peer. The port is that of the end that
    /// listens; behind a Service it is the port of the Pod.
    pub fn admits(&self, direction: Direction, peer: &Peer, protocol: Protocol, port: u16) -> bool {
        let admits = |peers: &[PeerRule], ports: &[Ports]| {
            // Without peers or without ports a rule is for all of them.
            (peers.is_empty() || peers.iter().any(|rule| self.is_peer(rule, peer)))
                && (ports.is_empty() || ports.iter().any(|ports| ports.contain(protocol, port)))
        };
        let spec = &self.spec;
        !spec.policy_types.contains(&direction)
            || match direction {
                Direction::Ingress => spec.ingress.iter().any(|rule| admits(&rule.from, &rule.ports)),
                Direction::Egress => spec.egress.iter().any(|rule| admits(&rule.to, &rule.ports)),
            }
    }

    fn is_peer(&self, rule: &PeerRule, peer: &Peer) -> bool {
        let address = match peer {
            Peer::Address(address) => Some(*address),
            Peer::Pod { address, .. } => *address,
        };
        if let Some(block) = &rule.ip_block {
            return address.is_some_and(|address| block.contains(address));
        }
        let Peer::Pod {
            namespace, labels, ..
        } = peer
        else {
            return false;
        };
        let is_namespace = match &rule.namespace_selector {
            Some(selector) => {
                selector.matches(&Labels::from([(NAMESPACE_NAME.to_owned(), namespace.clone())]))
            }
            None => *namespace == self.metadata.namespace,
        };
        let is_pod = rule
            .pod_selector
            .as_ref()
            .is_none_or(|selector| selector.matches(labels));
        is_namespace && is_pod
    }
}

impl Block {
    fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(&address) && !self.except.iter().any(|except| except.contains(&address))
    }
}

impl Ports {
    fn contain(&self, protocol: Protocol, port: u16) -> bool {
        self.protocol == protocol
            && self
                .port
                .is_none_or(|first| (first..=self.end_port.unwrap_or(first)).contains(&port))
    }
}

impl Selector {
    fn matches(&self, labels: &Labels) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .match_expressions
                .iter()
                .all(|expression| expression.matches(labels))
    }
}

impl Expression {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let is_listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => is_listed,
            // Also true without the label.
            Operator::NotIn => !is_listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn egress(rules: &Value) -> Policy {
        Policy::read(&json!({
            "metadata": {"namespace": "mcp"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": rules},
        }))
        .unwrap()
    }

    fn address(text: &str) -> Peer {
        Peer::Address(text.parse().unwrap())
    }

    #[rstest]
    #[case::every_peer(json!({"ports": [{"port": 53}]}), address("192.0.2.1"), 53, true)]
    #[case::another_port(json!({"ports": [{"port": 53}]}), address("192.0.2.1"), 54, false)]
    #[case::another_protocol(json!({"ports": [{"port": 53, "protocol": "UDP"}]}), address("192.0.2.1"), 53, false)]
    #[case::every_port(json!({"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}), address("192.0.2.1"), 7, true)]
    #[case::last_port(json!({"ports": [{"port": 80, "endPort": 90}]}), address("192.0.2.1"), 90, true)]
    #[case::behind_the_last_port(json!({"ports": [{"port": 80, "endPort": 90}]}), address("192.0.2.1"), 91, false)]
    #[case::excluded(
        json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]}), address("169.254.169.254"), 80, false
    )]
    #[case::excluded_in_one_of_two_blocks(
        json!({"to": [
            {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}, {"ipBlock": {"cidr": "10.1.0.0/16"}},
        ]}),
        address("10.1.0.1"), 80, true
    )]
    #[case::a_pod_is_in_no_block(json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}), Peer::pod("mcp", []), 80, false)]
    #[case::a_pod_is_in_a_block(
        json!({"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}), Peer::pod("mcp", []).at([10, 244, 0, 9].into()), 80, true
    )]
    #[case::an_address_has_no_labels(json!({"to": [{"podSelector": {}}]}), address("10.0.0.1"), 80, false)]
    #[case::own_namespace(json!({"to": [{"podSelector": {}}]}), Peer::pod("mcp", []), 80, true)]
    #[case::another_namespace(json!({"to": [{"podSelector": {}}]}), Peer::pod("data", []), 80, false)]
    #[case::every_namespace(json!({"to": [{"namespaceSelector": {}}]}), Peer::pod("data", []), 80, true)]
    #[case::both_selectors(
        json!({"to": [{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "data"}},
            "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["redis"]}]},
        }]}),
        Peer::pod("data", [("app", "web")]), 80, false
    )]
    #[case::no_rule(json!({"to": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}]}), Peer::pod("mcp", []), 80, false)]
    #[case::label_that_is_absent(
        json!({"to": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}}]}),
        Peer::pod("mcp", []), 80, true
    )]
    fn a_rule_admits_what_the_api_says(
        #[case] rule: Value,
        #[case] peer: Peer,
        #[case] port: u16,
        #[case] admitted: bool,
    ) {
        let policy = egress(&json!([rule]));
        assert_eq!(
            policy.admits(Direction::Egress, &peer, Protocol::Tcp, port),
            admitted
        );
    }

    #[test]
    fn a_direction_without_rules_is_closed_and_one_that_the_policy_does_not_name_is_open() {
        let closed = egress(&json!([]));
        let open = Policy::read(&json!({
            "metadata": {"namespace": "mcp"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
        }))
        .unwrap();
        for (policy, admitted) in [(closed, false), (open, true)] {
            let peer = Peer::pod("mcp", []);
            assert_eq!(
                policy.admits(Direction::Egress, &peer, Protocol::Tcp, 80),
                admitted
            );
        }
    }

    #[test]
    fn a_field_that_is_not_known_is_an_error() {
        let rule = json!([{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "exept": []}}]}]);
        let policy = json!({
            "metadata": {"namespace": "mcp"},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": rule},
        });
        assert!(Policy::read(&policy).is_err());
    }
}
