//! The operator's own settings, which complete and limit a spec.

use std::net::IpAddr;

use crate::controller::validate::installation_policy::Allowed;

/// The operator's own settings, from its command line.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The sidecar's image.
    pub sidecar_image: String,

    /// The image of the built-in Azure DevOps server.
    pub server_image: String,

    /// The hosts that objects may name.
    pub allowed: Allowed,

    /// The namespace of the operator's Pod. `None` outside a cluster.
    pub operator_namespace: Option<String>,

    /// The unspecified address of the cluster's IP family, on which Pods listen.
    pub listen: IpAddr,
}
