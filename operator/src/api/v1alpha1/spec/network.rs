//! Which connections the NetworkPolicy of the Pods allows.

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::embedded_list;

/// The connections to and from the Pods that a NetworkPolicy allows. The cluster's network plugin must enforce
/// NetworkPolicies. Probes of the kubelet pass every policy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Restricted (default): a NetworkPolicy lets clients in on the public port, the operator and the peers of
    /// metricsFrom on port 9090, those peers also on port 3001 of the built-in server, and the Pods out to DNS and to the
    /// destinations of egress. Open: there is no NetworkPolicy.
    #[serde(default)]
    pub policy: NetworkPolicyMode,

    /// Peers that may reach the public port. Empty means every peer, because an ingress controller or gateway may run
    /// anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded_list::<NetworkPolicyPeer>")]
    pub ingress_from: Vec<NetworkPolicyPeer>,

    /// Peers that may scrape metrics from port 9090, in addition to the operator, and from port 3001 of the built-in server. Empty means
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded_list::<NetworkPolicyPeer>")]
    pub metrics_from: Vec<NetworkPolicyPeer>,

    /// Destinations that the Pods may reach in addition to DNS. If a host of the spec is in the cluster (host.namespace.svc, or a
    /// name without a dot, which is of the own namespace), the Pods may also reach its namespace on its port.
    #[serde(default)]
    pub egress: Egress,
}

/// Whether a NetworkPolicy limits the Pods' connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicyMode {
    /// The NetworkPolicy exists.
    #[default]
    Restricted,

    /// No NetworkPolicy exists.
    Open,
}

/// Destinations that the Pods may reach.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Further rules, as in a NetworkPolicy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded_list::<NetworkPolicyEgressRule>")]
    pub allow: Vec<NetworkPolicyEgressRule>,

    /// Enabled (default): port 443 and the ports of Entra, of the downstream API, of the session store and of the collector of traces
    /// are open to every address but link-local ones and the metadata services of clouds, because a NetworkPolicy knows no host
    /// names; the installation's proxy is open too. Disabled: none of these ports is open, and no proxy; name the proxy or the addresses
    /// in allow.
    #[serde(default)]
    pub internet: Internet,
}

/// Whether addresses outside the cluster are reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Internet {
    /// The Pods may reach them on port 443 and the ports of Entra, of the downstream API, of the session store and of the
    /// collector of traces, and the installation's proxy.
    #[default]
    Enabled,

    /// The Pods may reach only DNS, Services of the cluster that the spec names, and the destinations of allow.
    Disabled,
}
