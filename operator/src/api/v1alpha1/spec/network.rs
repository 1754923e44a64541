//! Which connections the NetworkPolicy of the Pods allows.

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::embedded_list;

/// Who may talk to the Pods, and whom they may talk to. A NetworkPolicy does this; whether it is enforced
/// is up to the cluster's network plugin.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Restricted: a NetworkPolicy that lets clients in on the public port, and the Pods out to DNS and to the
    /// ports of Entra and of the downstream API. These ports are open to every destination but link-local
    /// addresses and the metadata services of clouds: a NetworkPolicy knows no host names. Open: no
    /// NetworkPolicy.
    #[serde(default)]
    pub policy: NetworkPolicyMode,

    /// Who may reach the public port. Empty: everyone, as an ingress controller or gateway may run anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded_list::<NetworkPolicyPeer>")]
    pub ingress_from: Vec<NetworkPolicyPeer>,

    /// What the Pods may reach besides, for example an endpoint on another port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded_list::<NetworkPolicyEgressRule>")]
    pub egress: Vec<NetworkPolicyEgressRule>,
}

/// Whether there is a NetworkPolicy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicyMode {
    /// There is one.
    #[default]
    Restricted,

    /// There is none.
    Open,
}
