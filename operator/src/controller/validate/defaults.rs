//! The operator's own settings, which complete and limit a spec.

use std::net::IpAddr;

use behalf_contract::EgressProxy;

use crate::controller::child_labels::ChildLabels;
use crate::controller::max_rollouts::MaxRollouts;
use crate::controller::reference_defaults::ReferenceDefaults;
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

    /// The proxy through which the Pods reach hosts outside of the cluster.
    pub egress_proxy: Option<EgressProxy>,

    /// The objects of each namespace that the Pods use by default.
    pub references: ReferenceDefaults,

    /// The maximum number of objects whose Pods are replaced at a time without an edit of the object.
    pub max_rollouts: MaxRollouts,
    /// Labels of every child.
    pub child_labels: ChildLabels,

    /// The namespace of the operator's Pod. `None` outside a cluster.
    pub operator_namespace: Option<String>,

    /// The unspecified address of the cluster's IP family, on which Pods listen.
    pub listen: IpAddr,
}
