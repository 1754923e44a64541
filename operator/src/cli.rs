//! The command line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use behalf_contract::{DirectHosts, EgressProxy, EgressProxyError};
use behalf_runtime::LogLevel;
use clap::{Args, Parser, Subcommand};
use url::Url;

use crate::api::v1alpha1::CertificateAuthorityRef;
use crate::controller::rollouts::MaxRollouts;
use crate::controller::validate::child_labels::{self, ChildLabels};
use crate::controller::validate::installation_policy::{self, Allowed, Namespaces};
use crate::controller::validate::reference_defaults::{self, ReferenceDefaults};
use crate::controller::validate::{Defaults, parse_tracing_endpoint};
use crate::controller::watches::scope::{self, NothingToWatch, Scope};
use crate::lease::LeaseOptions;

/// The Behalf operator.
#[derive(Debug, Parser)]
#[command(
    name = "behalf-operator",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do; `run` when absent.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Options of `run`.
    #[command(flatten)]
    pub run: Run,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconciles `McpServers`.
    Run(Box<Run>),

    /// Checks with the options of `run` that the operator of this installation works; `helm test` does so.
    Check(Box<Run>),

    /// Prints the CRD as YAML.
    Crd {
        /// As template of the chart behalf-crds: Helm keeps it, and with it every object, on uninstall.
        #[arg(long)]
        helm: bool,
    },
}

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

    /// Registry paths of the images that objects may name in server.container.image: `<registry>/<path>`. Without one, no
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

    /// The proxy through which Pods reach https addresses outside of the cluster: `http://<host>:<port>`.
    #[arg(long, value_name = "URL", env = "BEHALF_EGRESS_PROXY_HTTPS")]
    pub egress_proxy_https: Option<String>,

    /// Hosts that Pods reach without the proxy: `<host>`, `.<domain>`, an address or a network.
    #[arg(
        long,
        value_name = "HOSTS",
        env = "BEHALF_EGRESS_PROXY_NO_PROXY",
        value_delimiter = ','
    )]
    pub egress_proxy_no_proxy: Vec<String>,

    /// `ConfigMap` with certificate authorities for the Pods of objects without entra.certificateAuthorityRef, in the namespace
    /// of each object.
    #[arg(
        long,
        value_name = "NAME",
        env = "BEHALF_CERTIFICATE_AUTHORITY_CONFIG_MAP",
        value_parser = reference_defaults::parse_name
    )]
    pub certificate_authority_config_map: Option<String>,

    /// The key of that `ConfigMap`.
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
    /// `<number>`, or `<percent>%` of all objects. An edit of an object does not wait.
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

    /// Namespaces to watch; by default the operator's own. An `McpServer` of another namespace is not seen.
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

    /// The origin of an OTLP/HTTP receiver that gets the operator's own traces: `http://<host>:<port>` or
    /// `https://<host>:<port>`. Without it no span is recorded.
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
    fn reference_defaults(&self) -> ReferenceDefaults {
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
    pub fn scope(&self) -> Result<Scope, NothingToWatch> {
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn runs_without_a_command() {
        let cli = Cli::try_parse_from(["behalf-operator", "--sidecar-image", "a:1"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.run.sidecar_image, "a:1");
        assert!(matches!(
            Cli::try_parse_from(["behalf-operator", "crd"]).unwrap().command,
            Some(Command::Crd { helm: false })
        ));
    }

    fn allowed(arguments: &[&str]) -> Allowed {
        Cli::try_parse_from(["behalf-operator"].iter().chain(arguments))
            .unwrap()
            .run
            .defaults()
            .unwrap()
            .allowed
    }

    #[test]
    fn objects_may_name_the_known_clouds_by_default() {
        let default = allowed(&[]);
        assert_eq!(default.entra_hosts, installation_policy::ENTRA_HOSTS);
        assert_eq!(
            default.azure_dev_ops_hosts,
            installation_policy::AZURE_DEV_OPS_HOSTS
        );
        assert!(default.redirect_hosts.is_empty());
        assert!(default.document_hosts.is_empty());
        assert!(default.server_repositories.is_empty());
    }

    #[test]
    fn a_list_of_hosts_replaces_its_default() {
        let told = allowed(&[
            "--allowed-entra-hosts=entra.contoso.example:8443",
            "--allowed-azure-devops-hosts=a.contoso.example,b.contoso.example",
            "--allowed-redirect-hosts=ci.contoso.example",
            "--allowed-document-hosts=vscode.dev,claude.ai",
            "--allowed-server-repositories=registry.contoso.example/mcp",
        ]);
        assert_eq!(told.server_repositories, ["registry.contoso.example/mcp"]);
        assert_eq!(told.entra_hosts, ["entra.contoso.example:8443"]);
        assert_eq!(
            told.azure_dev_ops_hosts,
            ["a.contoso.example", "b.contoso.example"]
        );
        assert_eq!(told.redirect_hosts, ["ci.contoso.example"]);
        assert_eq!(told.document_hosts, ["vscode.dev", "claude.ai"]);
    }

    #[test]
    fn a_list_that_would_match_nothing_is_refused_at_the_start() {
        for argument in [
            "--allowed-entra-hosts=https://entra.contoso.example",
            "--allowed-entra-hosts=",
            "--allowed-azure-devops-hosts=*.contoso.example",
            "--allowed-server-repositories=contoso/server",
            "--allowed-document-hosts=vscode.dev:8443",
        ] {
            let error = Cli::try_parse_from(["behalf-operator", argument]).unwrap_err();
            assert!(error.to_string().contains("write <"), "{error}");
        }
    }

    #[test]
    fn objects_of_every_namespace_are_named_as_kubernetes_names_objects() {
        let parse = |arguments: &[&str]| Cli::try_parse_from(["behalf-operator"].iter().chain(arguments));
        let shared = |arguments: &[&str]| parse(arguments).unwrap().run.reference_defaults();
        assert_eq!(shared(&[]), ReferenceDefaults::default());
        let named = shared(&[
            "--certificate-authority-config-map=corp-ca",
            "--image-pull-secrets=mirror,second.mirror",
        ]);
        let authority = named.certificate_authority.unwrap();
        assert_eq!((&*authority.name, &*authority.key), ("corp-ca", "ca.crt"));
        assert_eq!(named.image_pull_secrets, ["mirror", "second.mirror"]);
        for argument in [
            "--certificate-authority-config-map=../corp",
            "--certificate-authority-key=..",
            "--certificate-authority-key=a/b",
            "--image-pull-secrets=mirror,",
        ] {
            let error = parse(&[argument]).unwrap_err();
            assert!(error.to_string().contains("write "), "{error}");
        }
    }

    #[test]
    fn a_proxy_with_a_password_stops_the_start_and_the_password_is_not_repeated() {
        let parse = |arguments: &[&str]| {
            let cli = Cli::try_parse_from(["behalf-operator"].iter().chain(arguments)).unwrap();
            cli.run.defaults().map(|defaults| defaults.egress_proxy)
        };
        assert_eq!(parse(&[]), Ok(None));
        let proxy = parse(&[
            "--egress-proxy-https=http://proxy.corp.example:3128",
            "--egress-proxy-no-proxy=.corp.example,10.0.0.0/8",
        ]);
        let proxy = proxy.unwrap().unwrap();
        assert_eq!(proxy.https.origin(), "http://proxy.corp.example:3128");
        assert_eq!(proxy.no_proxy.len(), 2);

        let error = parse(&["--egress-proxy-https=http://ana:hunter2@proxy.corp.example:3128"]).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let nothing = [
            "--egress-proxy-https=http://proxy:3128",
            "--egress-proxy-no-proxy=*.corp.example",
        ];
        assert!(
            parse(&nothing)
                .unwrap_err()
                .to_string()
                .contains("*.corp.example")
        );
    }

    #[test]
    fn watches_namespaces_or_the_whole_cluster_and_not_both() {
        let parse = |arguments: &[&str]| {
            Cli::try_parse_from(
                ["behalf-operator", "--namespace=behalf-system"]
                    .iter()
                    .chain(arguments),
            )
        };
        let scope = |arguments: &[&str]| parse(arguments).unwrap().run.scope().unwrap().to_string();
        assert_eq!(scope(&[]), "behalf-system");
        assert_eq!(scope(&["--watch-namespaces=one,two"]), "one, two");
        assert_eq!(scope(&["--cluster-wide"]), "all");
        assert!(parse(&["--cluster-wide", "--watch-namespaces=one"]).is_err());
        assert!(parse(&["--watch-namespaces=one,"]).is_err());
    }

    #[test]
    fn a_collector_that_could_get_no_span_is_refused_at_the_start() {
        let parse = |endpoint: &str| {
            let argument = format!("--tracing-endpoint={endpoint}");
            Cli::try_parse_from(["behalf-operator", &argument]).map(|cli| cli.run.tracing_endpoint)
        };
        assert!(parse("http://otel.obs.svc:4318").unwrap().is_some());
        for endpoint in [
            "http://otel.obs.svc:4317",
            "otel.obs.svc:4318",
            "http://otel:4318/v1/traces",
        ] {
            let error = parse(endpoint).unwrap_err().to_string();
            assert!(error.contains("must"), "{error}");
        }
        let alone = ["behalf-operator", "--tracing-certificate-authority=/ca.crt"];
        assert!(
            Cli::try_parse_from(alone).is_err(),
            "a bundle without a collector"
        );
    }

    #[test]
    fn a_lease_needs_a_namespace_and_an_identity() {
        let parse = |arguments: &[&str]| {
            Cli::try_parse_from(
                ["behalf-operator", "--lease=behalf-operator"]
                    .iter()
                    .chain(arguments),
            )
        };
        assert!(parse(&["--namespace=behalf-system"]).is_err());
        assert!(parse(&["--namespace=behalf-system", "--pod-name=behalf-operator-1"]).is_ok());
    }

    #[test]
    fn pods_listen_on_the_cluster_s_ip_family() {
        let listen = |arguments: &[&str]| {
            Cli::try_parse_from(["behalf-operator"].iter().chain(arguments))
                .unwrap()
                .run
                .defaults()
                .unwrap()
                .listen
        };
        assert!(listen(&["--pod-ip", "fd00::7"]).is_ipv6());
        assert!(listen(&["--pod-ip", "10.0.0.7"]).is_ipv4());
        assert!(listen(&[]).is_ipv4());
    }
}
