//! Where a loopback port leads, and the way there.

/// One loopback port and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Forward {
    /// The port on 127.0.0.1.
    pub local: u16,

    /// The Service's namespace.
    pub namespace: String,

    /// The Service's name.
    pub service: String,

    /// The Service's port.
    pub port: u16,
}

/// The route of a connection to its Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Connects to the Pod's address. This machine needs a route to it, as it has to the Pods of a local
    /// cluster.
    Direct,

    /// Connects through the API server and the node, as every cluster can. The node reports a close by the
    /// Pod up to a second late, and reports a reset as a close.
    PortForward,
}
