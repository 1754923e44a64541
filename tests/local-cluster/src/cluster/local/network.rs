//! Links and routes: a bridge on the host joins the nodes, and the host reaches Pods and Services
//! through them.

use std::fmt::Write;

use super::process::in_network;
use crate::cluster::addresses::Addresses;
use crate::command::{Call, CommandError};

/// Creates the bridge on the host and the routes that need no node yet.
pub(crate) fn create_bridge(addresses: Addresses) -> Result<(), CommandError> {
    let bridge = addresses.bridge();
    let host = addresses.host();
    batch(
        Call::new("ip"),
        &format!(
            "link add {bridge} type bridge\n\
             address add {host}/24 dev {bridge}\n\
             link set {bridge} up\n"
        ),
    )
}

/// Connects one of the cluster's `nodes` nodes, whose first process is `inner`.
pub(crate) fn connect(addresses: Addresses, node: u8, nodes: u8, inner: u32) -> Result<(), CommandError> {
    let (bridge, outside, inside) = (
        addresses.bridge(),
        addresses.host_link(node),
        addresses.node_link(node),
    );
    let (host, own) = (addresses.host(), addresses.node(node));
    let pods = addresses.node_pods(node);
    let mut routes = format!("route add {pods} via {own} dev {bridge}\n");
    if node == 0 {
        let services = addresses.services();
        let _ = writeln!(routes, "route add {services} via {own} dev {bridge}");
    }
    batch(
        Call::new("ip"),
        &format!(
            "link add {outside} type veth peer name {inside}\n\
             link set {outside} master {bridge} up\n\
             link set {inside} netns {inner} name eth0\n\
             {routes}"
        ),
    )?;
    let mut others = String::new();
    for other in (0..nodes).filter(|other| *other != node) {
        let (pods, via) = (addresses.node_pods(other), addresses.node(other));
        let _ = writeln!(others, "route add {pods} via {via}");
    }
    batch(
        in_network(inner, "ip"),
        &format!(
            "link set lo up\n\
             address add {own}/24 dev eth0\n\
             link set eth0 up\n\
             route add default via {host}\n\
             {others}"
        ),
    )?;
    in_network(inner, "sh").args(["-ec", FORWARD]).run()
}

/// The second line matters where the bridge filter is loaded: a Service's answer from a Pod on the
/// same bridge must pass through the translation it came by.
const FORWARD: &str = "
echo 1 > /proc/sys/net/ipv4/ip_forward
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
    echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
fi";

/// Loads the bridge filter if it is a module that is not loaded.
pub(crate) fn load_bridge_filter() -> bool {
    let there = || std::path::Path::new("/proc/sys/net/bridge").exists();
    if !there() {
        Call::new("modprobe").arg("br_netfilter").succeeds();
    }
    there()
}

/// Removes the links; the routes go with them. Links that are not there are fine.
pub(crate) fn remove(addresses: Addresses, nodes: u8) {
    // The kernel removes a dead node's links on its own, but later.
    for node in 0..nodes {
        Call::new("ip")
            .args(["link", "delete", &addresses.host_link(node)])
            .succeeds();
    }
    Call::new("ip")
        .args(["link", "delete", &addresses.bridge()])
        .succeeds();
}

fn batch(ip: Call, commands: &str) -> Result<(), CommandError> {
    ip.args(["-batch", "-"]).input(commands).run()
}
