//! Names, sockets and ports on which the components of a cluster agree.

use crate::cluster::registry::Record;

/// Port of the API server on the first node's address.
pub(crate) const API_PORT: u16 = 6443;

/// The cluster's DNS domain.
pub(crate) const DOMAIN: &str = "cluster.local";

/// containerd's socket, in the node's own `/run`.
pub(crate) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// containerd's socket as the kubelet names it.
pub(crate) const CONTAINERD_ENDPOINT: &str = "unix:///run/containerd/containerd.sock";

/// The name of a node in the Kubernetes API.
pub(crate) fn node_name(record: &Record, node: u8) -> String {
    format!("{}-{node}", record.name)
}
