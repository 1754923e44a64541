//! The network policy of an object, beside the addresses in the rendered configuration of both programs.
//!
//! The destinations are read from the files, not from the code that builds the policy. A new address in a file is a destination
//! until [`NOT_CALLED`] says otherwise.

use std::net::{IpAddr, Ipv4Addr};

use behalf_simulators::network_policy::{Direction, Peer, Policy, Protocol};
use url::{Host, Url};

use super::*;
use crate::api::v1alpha1::Internet;
use crate::controller::plan::Plan;

/// Fields with URLs that no program of the Pod connects to.
const NOT_CALLED: [&str; 4] = [
    // Clients come to it.
    "publicUrl",
    // Loopback.
    "upstream",
    // Names an API, and is no address.
    "sessions.store.authentication.scope",
    // Only on the way to another address.
    "egressProxy.https",
];

/// The address of a host outside of the cluster.
pub(super) const INTERNET: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

/// The address of a Pod, for network plugins whose blocks of addresses contain Pods.
pub(super) const POD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 9));

/// The policy of an object and the two files of its Pods.
pub(super) struct Rendered {
    pub(super) policy: Policy,
    pub(super) files: Vec<Value>,
    pub(super) children: Children<Built>,
}

pub(super) fn render(plan: &Plan) -> Rendered {
    let children = build(plan, Some(fresh())).unwrap();
    let policy = serde_json::to_value(children.network_policy.as_ref().unwrap()).unwrap();
    let files = children.config_map.data.as_ref().unwrap().values();
    Rendered {
        policy: Policy::read(&policy).unwrap(),
        files: files.map(|text| serde_yaml::from_str(text).unwrap()).collect(),
        children,
    }
}

/// Adds the URLs of a file with their paths. The index of a list is no part of the path.
fn urls(value: &Value, path: &str, found: &mut Vec<(String, Url)>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                urls(member, format!("{path}.{name}").trim_start_matches('.'), found);
            }
        }
        Value::Array(entries) => entries.iter().for_each(|entry| urls(entry, path, found)),
        Value::String(text) => {
            let url = Url::parse(text)
                .ok()
                .filter(|url| ["http", "https", "redis", "rediss"].contains(&url.scheme()));
            found.extend(url.map(|url| (path.to_owned(), url)));
        }
        _ => {}
    }
}

/// The Pods that answer at a host, as DNS would say. Only names of the table are known, so that each row says where its hosts are.
fn resolve(host: &Host<&str>) -> Peer {
    let name = match host {
        Host::Ipv4(address) => return Peer::Address((*address).into()),
        Host::Ipv6(address) => return Peer::Address((*address).into()),
        Host::Domain(name) => *name,
    };
    if let Ok(address) = name.parse() {
        return Peer::Address(address);
    }
    match name {
        "redis" | "redis.mcp.svc" => Peer::pod("mcp", [("app", "redis")]),
        "redis.data.svc" | "redis-0.redis.data.svc.cluster.local" => Peer::pod("data", [("app", "redis")]),
        "otel.obs.svc" => Peer::pod("obs", [("app", "otel")]),
        "squid.egress.svc" => Peer::pod("egress", [("app", "squid")]),
        "login.microsoftonline.com"
        | "login.microsoftonline.us"
        | "dev.azure.com"
        | "vsrm.dev.azure.com"
        | "vssps.dev.azure.com" => Peer::Address(INTERNET),
        name if name.ends_with(".example") || name.ends_with(".azure.net") => Peer::Address(INTERNET),
        name => panic!("the table does not say where {name} is"),
    }
}

/// A connection that a program of the Pod makes.
#[derive(Debug)]
struct Connection {
    /// The address in the file.
    url: Url,
    peer: Peer,
    port: u16,
}

/// Every connection that the files make the Pods open.
fn connections(files: &[Value]) -> Vec<Connection> {
    let mut connections = Vec::new();
    for file in files {
        let proxy = file
            .get("egressProxy")
            .map(|proxy| -> EgressProxy { serde_json::from_value(proxy.clone()).unwrap() });
        let mut found = Vec::new();
        urls(file, "", &mut found);
        found.retain(|(path, _)| !NOT_CALLED.contains(&path.as_str()));
        for (_, url) in found {
            let next = proxy
                .as_ref()
                .and_then(|proxy| proxy.proxy_for(&url))
                .unwrap_or(&url);
            connections.push(Connection {
                peer: resolve(&next.host().unwrap()),
                port: next.port_or_known_default().unwrap(),
                url,
            });
        }
    }
    assert!(!connections.is_empty());
    connections
}

impl Rendered {
    pub(super) fn reaches(&self, peer: &Peer, port: u16) -> bool {
        self.policy.admits(Direction::Egress, peer, Protocol::Tcp, port)
    }

    /// The addresses of the files that the policy does not open.
    pub(super) fn unreachable(&self) -> Vec<String> {
        let mut closed: Vec<String> = connections(&self.files)
            .iter()
            .filter(|connection| !self.reaches(&connection.peer, connection.port))
            .map(|connection| connection.url.origin_text())
            .collect();
        closed.sort();
        closed.dedup();
        closed
    }

    /// Asserts that nothing is open which no object needs.
    pub(super) fn assert_closed(&self, name: &str, internet: Internet) {
        let pod = |namespace| Peer::pod(namespace, [("app", "other")]).at(POD);
        let address = |text: &str| Peer::Address(text.parse().unwrap());
        let mut closed = vec![
            (address("169.254.169.254"), 80),
            (address("168.63.129.16"), 80),
            (address("168.63.129.16"), 32526),
            (address("100.100.100.200"), 80),
            (address("fd00:ec2::254"), 80),
            // The metadata services on the ports that are open to other addresses.
            (address("169.254.169.254"), 443),
            (address("fd20:ce::254"), 443),
            // The API server, a kubelet and etcd.
            (address("10.0.0.1"), 6443),
            (address("10.0.0.4"), 10250),
            (address("10.0.0.4"), 2379),
            (address("203.0.113.7"), 22),
        ];
        for namespace in ["mcp", "kube-system", "data", "elsewhere"] {
            for port in [8080, 9090, 3000, 3001, 10250] {
                closed.push((pod(namespace), port));
            }
        }
        if internet == Internet::Disabled {
            closed.extend([(address("203.0.113.7"), 443), (address("10.0.0.1"), 443)]);
            closed.push((pod("elsewhere"), 443));
        }
        for (peer, port) in closed {
            assert!(!self.reaches(&peer, port), "{name} reaches {peer:?} on {port}");
        }
    }
}

/// The text of a URL as a user writes it.
trait OriginText {
    fn origin_text(&self) -> String;
}

impl OriginText for Url {
    fn origin_text(&self) -> String {
        let port = self.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!(
            "{}://{}{port}",
            self.scheme(),
            self.host_str().unwrap_or_default()
        )
    }
}
