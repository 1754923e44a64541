//! Every object that one `McpServer` owns.

use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;

/// Only computed.
#[derive(Debug, Clone, Copy)]
pub struct Built;

/// As the API server returned it.
#[derive(Debug, Clone, Copy)]
pub struct Applied;

/// The children in the state `S`.
#[derive(Debug, Clone)]
pub struct Children<S> {
    /// Absent when the object names an existing one.
    pub service_account: Option<ServiceAccount>,

    /// Only when there is none yet: a keyring is made once and never overwritten.
    pub keyring: Option<Secret>,

    /// The files of both containers; its name holds their digest.
    pub config_map: ConfigMap,

    /// Absent with `network.policy: Open`.
    pub network_policy: Option<NetworkPolicy>,

    /// The public port.
    pub service: Service,

    /// The Pods.
    pub deployment: Deployment,

    pub(super) state: PhantomData<S>,
}
