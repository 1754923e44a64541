//! The options of `run`, and what they say of the objects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use behalf_contract::{DirectHosts, EgressProxy, EgressProxyError};
use behalf_runtime::LogLevel;
use clap::Args;
use url::Url;

use crate::api::v1alpha1::CertificateAuthorityRef;
use crate::controller::child_labels::{self, ChildLabels};
use crate::controller::max_rollouts::MaxRollouts;
use crate::controller::reference_defaults::{self, ReferenceDefaults};
use crate::controller::validate::installation_policy::{self, Allowed, Namespaces};
use crate::controller::validate::{Defaults, parse_tracing_endpoint};
use crate::controller::watches::scope::{self, EmptyScope, Scope};
use crate::lease::LeaseOptions;
use crate::telemetry::traces::Receiver;

/// Options of `run`.
#[derive(Debug, Clone, Args)]
pub struct Run {
    /// The image of the auth sidecar.
    #[arg(
        long,
        value_name = "IMAGE",
        env = "BEHALF_SIDECAR_IMAGE",
        default_value = concat!("ghcr.io/behalf-dev/auth-sidecar:", env!("CARGO_PKG_VERSION"))
    )]
    pub sidecar_image: String,

    /// The image of the built-in Azure DevOps server.
    #[arg(
        long,
        value_name = "IMAGE",
        env = "BEHALF_MCP_SERVER_IMAGE",
        default_value = concat!("ghcr.io/behalf-dev/mcp-server:", env!("CARGO_PKG_VERSION"))
    )]
    pub mcp_server_image: String,

    /// Hosts of entra.authority that objects may name: <host>, or <host>:<port> with another port than 443.
    #[arg(
        long,
        value_name = "HOSTS",
        env = "BEHALF_ALLOWED_ENTRA_HOSTS",
        value_delimiter = ',',
        value_parser = installation_policy::parse_host,
        default_values = installation_policy::ENTRA_HOSTS
    )]
    pub allowed_entra_hosts: Vec<String>,

    /// Hosts of server.azureDevOps.endpoints that objects may name.
    #[arg(
        long,
        value_name = "HOSTS",
        env = "BEHALF_ALLOWED_AZURE_DEVOPS_HOSTS",
        value_delimiter = ',',
        value_parser = installation_policy::parse_host,
        default_values = installation_policy::AZURE_DEV_OPS_HOSTS
    )]
    pub allowed_azure_devops_hosts: Vec<String>,

    /// Hosts of https redirect URIs that objects may name in clients.additionalRedirectHosts and clients.static, beside
    /// the callbacks of well-known MCP clients.
    #[arg(
        long,
        value_name = "HOSTS",
        env = "BEHALF_ALLOWED_REDIRECT_HOSTS",
        value_delimiter = ',',
        value_parser = installation_policy::parse_host
    )]
    pub allowed_redirect_hosts: Vec<String>,

    /// Hosts of clients' metadata documents for which the proxy is asked by name. For other hosts the proxy gets a
    /// public address that the Pod resolved.
    #[arg(
        long,
        value_name = "HOSTS",
        env = "BEHALF_ALLOWED_DOCUMENT_HOSTS",
        value_delimiter = ',',
        value_parser = installation_policy::parse_document_host
    )]
    pub allowed_document_hosts: Vec<String>,

    /// Registry paths of the images that objects may name in server.container.image: <registry>/<path>. Without one, no
    /// object may have a server of its own.
    #[arg(
        long,
        value_name = "PATHS",
        env = "BEHALF_ALLOWED_SERVER_REPOSITORIES",
        value_delimiter = ',',
        value_parser = installation_policy::parse_repository
    )]
    pub allowed_server_repositories: Vec<String>,

    /// The publicUrl hosts and client ids that are reserved for namespaces, as a JSON object:
    /// `{"<namespace>": {"publicUrlHosts": ["<host>"], "clientIds": ["<GUID>"]}}`.
    #[arg(
        long,
        value_name = "JSON",
        env = "BEHALF_NAMESPACES",
        default_value = "{}",
        value_parser = installation_policy::parse_namespaces
    )]
    pub namespaces: Namespaces,

    /// The proxy through which Pods reach https addresses outside of the cluster: http://<host>:<port>.
    #[arg(long, value_name = "URL", env = "BEHALF_EGRESS_PROXY_HTTPS")]
    pub egress_proxy_https: Option<String>,

    /// Hosts that Pods reach without the proxy: <host>, .<domain>, an address or a network.
    #[arg(
        long,
        value_name = "HOSTS",
        env = "BEHALF_EGRESS_PROXY_NO_PROXY",
        value_delimiter = ','
    )]
    pub egress_proxy_no_proxy: Vec<String>,

    /// ConfigMap with certificate authorities for the Pods of objects without entra.certificateAuthorityRef, in the namespace
    /// of each object.
    #[arg(
        long,
        value_name = "NAME",
        env = "BEHALF_CERTIFICATE_AUTHORITY_CONFIG_MAP",
        value_parser = reference_defaults::parse_name
    )]
    pub certificate_authority_config_map: Option<String>,

    /// The key of that ConfigMap.
    #[arg(
        long,
        value_name = "KEY",
        env = "BEHALF_CERTIFICATE_AUTHORITY_KEY",
        default_value = "ca.crt",
        value_parser = reference_defaults::parse_key
    )]
    pub certificate_authority_key: String,

    /// Secrets with credentials for the registry of the images, for the Pods of objects without pod.imagePullSecrets, in the
    /// namespace of each object.
    #[arg(
        long,
        value_name = "NAMES",
        env = "BEHALF_IMAGE_PULL_SECRETS",
        value_delimiter = ',',
        value_parser = reference_defaults::parse_name
    )]
    pub image_pull_secrets: Vec<String>,

    /// Maximum number of objects whose Pods the operator replaces at a time after an upgrade or a change of its settings:
    /// <number>, or <percent>% of all objects. An edit of an object does not wait.
    #[arg(
        long,
        value_name = "NUMBER",
        env = "BEHALF_MAX_ROLLOUTS",
        default_value = "10%"
    )]
    pub max_rollouts: MaxRollouts,

    /// Labels of every object that the operator makes, Pods included, as a JSON object: `{"<key>": "<value>"}`.
    #[arg(
        long,
        value_name = "JSON",
        env = "BEHALF_CHILD_LABELS",
        default_value = "{}",
        value_parser = child_labels::parse
    )]
    pub child_labels: ChildLabels,

    /// Namespaces to watch; by default the operator's own. An McpServer of another namespace is not seen.
    #[arg(
        long,
        value_name = "NAMESPACES",
        env = "BEHALF_WATCH_NAMESPACES",
        value_delimiter = ',',
        value_parser = scope::parse_namespace
    )]
    pub watch_namespaces: Vec<String>,

    /// Watches every namespace. Needs the rights of --watch-namespaces in the whole cluster.
    #[arg(long, env = "BEHALF_CLUSTER_WIDE", conflicts_with = "watch_namespaces")]
    pub cluster_wide: bool,

    /// The operator's own namespace, whose operator Pods may read the status of every Pod.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub namespace: Option<String>,

    /// The name of the operator's Pod, for events and the Lease.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub pod_name: Option<String>,

    /// The address of the operator's Pod. Pods that it makes listen on the same IP family.
    #[arg(long, value_name = "ADDRESS", env = "POD_IP")]
    pub pod_ip: Option<IpAddr>,

    /// The Lease in the operator's own namespace that the replica which reconciles must hold. Without it this operator must be the
    /// only one.
    #[arg(
        long,
        value_name = "NAME",
        env = "BEHALF_LEASE",
        requires_all = ["namespace", "pod_name"]
    )]
    pub lease: Option<String>,

    /// The origin of an OTLP/HTTP receiver that gets the operator's own traces: http://<host>:<port> or
    /// https://<host>:<port>. Without it no span is recorded.
    #[arg(
        long,
        value_name = "URL",
        env = "BEHALF_TRACING_ENDPOINT",
        value_parser = parse_tracing_endpoint
    )]
    pub tracing_endpoint: Option<Url>,

    /// The file with PEM certificates of authorities that the operator trusts for an https collector, beside those of the system.
    #[arg(
        long,
        value_name = "FILE",
        env = "BEHALF_TRACING_CERTIFICATE_AUTHORITY",
        requires = "tracing_endpoint"
    )]
    pub tracing_certificate_authority: Option<PathBuf>,

    /// The port of /livez, /readyz and /metrics.
    #[arg(long, value_name = "PORT", env = "BEHALF_PORT", default_value_t = 8081)]
    pub port: u16,

    /// How much to log.
    #[arg(
        long,
        value_name = "LEVEL",
        env = "BEHALF_LOG",
        default_value = "Info",
        ignore_case = true
    )]
    pub log: LogLevel,
}

impl Run {
    /// Returns the receiver of the operator's own traces, if there is one.
    pub fn trace_receiver(&self) -> Option<Receiver<'_>> {
        Some(Receiver {
            endpoint: self.tracing_endpoint.as_ref()?,
            certificate_authority: self.tracing_certificate_authority.as_deref(),
            namespace: self.namespace.as_deref(),
            pod_name: self.pod_name.as_deref(),
        })
    }

    /// Returns the operator's own settings for every object.
    pub fn defaults(&self) -> Result<Defaults, EgressProxyError> {
        Ok(Defaults {
            sidecar_image: self.sidecar_image.clone(),
            server_image: self.mcp_server_image.clone(),
            allowed: self.allowed(),
            egress_proxy: self.egress_proxy()?,
            references: self.reference_defaults(),
            max_rollouts: self.max_rollouts,
            child_labels: self.child_labels.clone(),
            operator_namespace: self.namespace.clone(),
            listen: self.listen(),
        })
    }

    /// Returns the proxy. It is parsed here, because the command line repeats a value that it refuses, and this one may
    /// contain a password.
    fn egress_proxy(&self) -> Result<Option<EgressProxy>, EgressProxyError> {
        let Some(https) = &self.egress_proxy_https else {
            return Ok(None);
        };
        let direct = self
            .egress_proxy_no_proxy
            .iter()
            .map(|hosts| hosts.parse::<DirectHosts>());
        Ok(Some(EgressProxy {
            https: https.parse()?,
            no_proxy: direct.collect::<Result<_, _>>()?,
        }))
    }

    /// Returns the objects of each namespace that the installation names.
    pub(super) fn reference_defaults(&self) -> ReferenceDefaults {
        let name = self.certificate_authority_config_map.clone();
        ReferenceDefaults {
            certificate_authority: name.map(|name| CertificateAuthorityRef {
                name,
                key: self.certificate_authority_key.clone(),
            }),
            image_pull_secrets: self.image_pull_secrets.clone(),
        }
    }

    /// Returns the Lease, if there may be other replicas.
    pub fn lease(&self) -> Option<LeaseOptions<'_>> {
        Some(LeaseOptions {
            namespace: self.namespace.as_deref()?,
            name: self.lease.as_deref()?,
            identity: self.pod_name.as_deref()?,
        })
    }

    /// Returns the namespaces to watch.
    pub fn scope(&self) -> Result<Scope, EmptyScope> {
        Scope::new(
            self.cluster_wide,
            &self.watch_namespaces,
            self.namespace.as_deref(),
        )
    }

    /// Returns the installation policy.
    fn allowed(&self) -> Allowed {
        Allowed {
            entra_hosts: self.allowed_entra_hosts.clone(),
            azure_dev_ops_hosts: self.allowed_azure_devops_hosts.clone(),
            redirect_hosts: self.allowed_redirect_hosts.clone(),
            document_hosts: self.allowed_document_hosts.clone(),
            server_repositories: self.allowed_server_repositories.clone(),
            namespaces: self.namespaces.clone(),
        }
    }

    /// The unspecified address of the cluster's IP family.
    pub fn listen(&self) -> IpAddr {
        match self.pod_ip {
            Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}
