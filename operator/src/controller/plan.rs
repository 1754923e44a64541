//! The plan: a valid spec with every default computed. The children are built from it alone.

use std::net::IpAddr;

use behalf_contract::{
    AccessConfig, AzureDevOpsConfig, ClientsConfig, EgressProxy, EntraConfig, ObjectIdentity, SessionsConfig,
    StoreConfig, TokenExchange, TracingConfig,
};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{EnvVar, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use url::Url;

use crate::api::v1alpha1::{
    CertificateAuthorityRef, KeyringSecretRef, LogLevel, Network, ParentRef, PodSettings, RedisSecretRef,
};
use crate::controller::child_labels::ChildLabels;
use crate::controller::names;

/// Everything that the children are built from.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Namespace and name of the object.
    pub object: ObjectIdentity,

    /// The reference to the object in each child.
    pub owner: OwnerReference,

    /// The public origin.
    pub public_url: Url,

    /// The application in Entra, and the scope of a login.
    pub entra: EntraConfig,

    /// The `ConfigMap` with further certificate authorities.
    pub certificate_authority: Option<CertificateAuthorityRef>,

    /// The objects that the session store needs.
    pub store: StorePlan,

    /// The Pods' `ServiceAccount`.
    pub service_account: ServiceAccountPlan,

    /// The Secret with the keyring, and who writes it.
    pub keyring: KeyringPlan,

    /// The scopes that the server's tools need.
    pub access: AccessConfig,

    /// The kind of MCP server, with its settings.
    pub kind: ServerPlan,

    /// The server's container.
    pub server: ContainerPlan,

    /// The sidecar's container.
    pub sidecar: ContainerPlan,

    /// How the server gets a token of the user.
    pub token_exchange: TokenExchange,

    /// Lifetimes of the users' sessions, and the store that keeps them.
    pub sessions: SessionsConfig,

    /// The clients that may sign users in.
    pub clients: ClientsConfig,

    /// Networks of proxies whose `X-Forwarded-For` header names the client.
    pub trusted_proxies: Vec<IpNet>,

    /// The collector of traces.
    pub tracing: Option<TracingConfig>,

    /// The proxy of the installation.
    pub egress_proxy: Option<EgressProxy>,

    /// Labels of the installation on every child.
    pub child_labels: ChildLabels,

    /// Number of Pods while the object is not suspended.
    pub replicas: i32,

    /// Whether the Pods are stopped.
    pub suspend: bool,

    /// The connections that the `NetworkPolicy` allows.
    pub network: Network,

    /// The route from outside the cluster.
    pub route: RoutePlan,

    /// Settings of the Pods.
    pub pod: PodSettings,

    /// The address on which the Pods listen.
    pub listen: IpAddr,

    /// The namespace of the operator's Pod, from which the network policy admits it.
    pub operator_namespace: Option<String>,
}

/// The route from outside the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutePlan {
    /// Somebody else makes it.
    None,

    /// The spec asks for an `HTTPRoute`, which the cluster does not serve.
    NoGatewayApi,

    /// An `HTTPRoute`.
    Gateway {
        /// The host of `publicUrl`.
        host: String,

        /// The Gateways that the route attaches to.
        parents: Vec<ParentRef>,
    },
}

/// The MCP server.
#[derive(Debug, Clone)]
pub enum ServerPlan {
    /// The built-in Azure DevOps server, with its configuration.
    AzureDevOps(AzureDevOpsConfig),

    /// A server from an image of the object's author.
    Container(ForeignPlan),
}

/// The settings of a server from an image of the object's author.
#[derive(Debug, Clone)]
pub struct ForeignPlan {
    /// In place of the image's entry point, if it is not empty.
    pub command: Vec<String>,

    /// In place of the image's arguments, if it is not empty.
    pub args: Vec<String>,

    /// The server's MCP endpoint, on loopback.
    pub endpoint: Url,

    /// Directories that become empty volumes.
    pub writable_paths: Vec<String>,

    /// Maximum size of each of these directories.
    pub writable_size: Quantity,

    /// User and group of the process.
    pub user: i64,
}

/// The objects of the namespace that the Pods mount for the session store.
#[derive(Debug, Clone, Default)]
pub struct StorePlan {
    /// The Secret with the credentials.
    pub secret: Option<RedisSecretRef>,

    /// The `ConfigMap` with the certificate authorities.
    pub certificate_authority: Option<CertificateAuthorityRef>,
}

/// A container's settings.
#[derive(Debug, Clone)]
pub struct ContainerPlan {
    /// Reference of the container's image.
    pub image: String,

    /// Requests and limits.
    pub resources: ResourceRequirements,

    /// How much it logs.
    pub log_level: LogLevel,

    /// Further environment variables.
    pub env: Vec<EnvVar>,
}

/// The `ServiceAccount` of the Pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceAccountPlan {
    /// A child, named like the object.
    Own,

    /// An existing one with this name. The operator never changes it.
    Given(String),
}

/// Whether a keyring is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyringPlan {
    /// A readable keyring exists. Only its rotation changes it.
    Keep {
        /// The id of the session key that seals.
        sealing: String,
    },

    /// A readable keyring without an owner exists, as a restore from a backup creates it. It is not changed.
    Adopt {
        /// The id of the session key that seals.
        sealing: String,
    },

    /// The object has no keyring yet.
    Create,

    /// Another tool delivers the keyring in this Secret. The operator neither reads nor writes it.
    Given(KeyringSecretRef),
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

    /// Every address that the object makes its Pods call, for the network policy.
    pub fn outgoing(&self) -> Vec<&Url> {
        let server = match &self.kind {
            ServerPlan::AzureDevOps(server) => {
                let endpoints = &server.endpoints;
                vec![&endpoints.core, &endpoints.release, &endpoints.identity]
            }
            // The installation does not know which addresses it calls. network.egress.allow names those beside 443.
            ServerPlan::Container(_) => Vec::new(),
        };
        let store: &[Url] = match &self.sessions.store {
            StoreConfig::Memory => &[],
            StoreConfig::Redis(redis) => &redis.endpoints,
        };
        let authority = [&self.entra.authority];
        let collector = self.tracing.as_ref().map(|tracing| &tracing.endpoint);
        authority
            .into_iter()
            .chain(server)
            .chain(store)
            .chain(collector)
            .collect()
    }
}
