//! A spec that was found to be usable, with every default computed. Building sees nothing else.

use std::net::IpAddr;

use behalf_contract::{
    AccessConfig, AzureDevOpsConfig, ClientsConfig, EntraConfig, ObjectIdentity, SessionsConfig,
    TokenExchange,
};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{EnvVar, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use url::Url;

use crate::api::v1alpha1::{CertificateAuthorityRef, LogLevel, Network, PodSettings};
use crate::controller::names;
use crate::controller::validate::installation_policy::Allowed;

/// What the operator itself was told at its start.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The sidecar's image.
    pub sidecar_image: String,

    /// The image of the built-in Azure DevOps server.
    pub server_image: String,

    /// What objects may name.
    pub allowed: Allowed,

    /// The namespace of the operator's Pod; nothing outside a cluster.
    pub operator_namespace: Option<String>,

    /// The unspecified address of the cluster's IP family, on which Pods listen.
    pub listen: IpAddr,
}

/// What to build.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whom everything belongs to.
    pub object: ObjectIdentity,

    /// The reference to the object in each child.
    pub owner: OwnerReference,

    /// The public origin.
    pub public_url: Url,

    /// The application.
    pub entra: EntraConfig,

    /// The `ConfigMap` with further certificate authorities.
    pub certificate_authority: Option<CertificateAuthorityRef>,

    /// The Pods' `ServiceAccount`.
    pub service_account: ServiceAccountPlan,

    /// The keyring.
    pub keyring: KeyringPlan,

    /// What users are asked for.
    pub access: AccessConfig,

    /// What to serve.
    pub azure_dev_ops: AzureDevOpsConfig,

    /// The server's container.
    pub server: ContainerPlan,

    /// The sidecar's container.
    pub sidecar: ContainerPlan,

    /// The exchange of tokens.
    pub token_exchange: TokenExchange,

    /// Sessions.
    pub sessions: SessionsConfig,

    /// Clients.
    pub clients: ClientsConfig,

    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,

    /// Zero while suspended.
    pub replicas: i32,

    /// Network policy.
    pub network: Network,

    /// Settings of the Pods.
    pub pod: PodSettings,

    /// Where the Pods listen.
    pub listen: IpAddr,

    /// Where the operator runs.
    pub operator_namespace: Option<String>,
}

/// A container's settings.
#[derive(Debug, Clone)]
pub struct ContainerPlan {
    /// The image.
    pub image: String,

    /// Requests and limits.
    pub resources: ResourceRequirements,

    /// How much it logs.
    pub log_level: LogLevel,

    /// Further environment variables.
    pub env: Vec<EnvVar>,
}

/// Who made the Pods' `ServiceAccount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceAccountPlan {
    /// Made for this object and named like it.
    Own,

    /// Somebody else's, used and never touched.
    Given(String),
}

/// Whether there is a keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyringPlan {
    /// There is a readable one; it is left as it is.
    Keep {
        /// The key that seals.
        sealing: String,
    },

    /// There is none yet.
    Make,
}

impl Plan {
    /// The name of the Pods' `ServiceAccount`.
    pub fn service_account_name(&self) -> &str {
        match &self.service_account {
            ServiceAccountPlan::Own => &self.object.name,
            ServiceAccountPlan::Given(name) => name,
        }
    }

    /// The subject of the Pods' tokens.
    pub fn subject(&self) -> String {
        names::subject(&self.object.namespace, self.service_account_name())
    }

    /// Every address that the Pods call, for the network policy.
    pub fn outgoing(&self) -> [&Url; 4] {
        let endpoints = &self.azure_dev_ops.endpoints;
        [
            &self.entra.authority,
            &endpoints.core,
            &endpoints.release,
            &endpoints.identity,
        ]
    }
}
