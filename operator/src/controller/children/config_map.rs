//! Builds the `ConfigMap` with the configuration files of the sidecar and the server.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use behalf_contract::{
    AzureDevOpsConfig, ExchangePlace, ServerConfig, ServerListen, SidecarConfig, SidecarListen, digest,
    endpoints, paths, ports,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{Applied, BuildError, ChildKind, Children, Existing, metadata};
use crate::controller::names::{self, SIDECAR_FILE};
use crate::controller::plan::{Plan, ServerPlan};

/// The key of the server's file.
pub(super) const SERVER_KEY: &str = "server.yaml";

/// Both files as text, with the digests and the name that are computed from them.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The sidecar's file.
    pub sidecar: String,

    /// The file of the built-in server. Another server has none.
    pub server: Option<String>,

    /// The `ConfigMap`'s name: the object's name and a digest of both files. Another content gives another name, so that any
    /// change is a rollout and the files of a running Pod never change.
    pub config_map_name: String,

    /// The digest of the sidecar's file, which the sidecar reports.
    pub sidecar_digest: String,

    /// The digest of the file of the built-in server.
    pub server_digest: Option<String>,
}

impl Configuration {
    /// Writes both files.
    pub fn render(plan: &Plan) -> Result<Self, BuildError> {
        let sidecar = yaml(SIDECAR_FILE, &sidecar(plan))?;
        let server = match &plan.kind {
            ServerPlan::AzureDevOps(server) => Some(yaml(SERVER_KEY, &server_file(plan, server))?),
            ServerPlan::Container(_) => None,
        };
        let both = Sha256::new()
            .chain_update(sidecar.len().to_be_bytes())
            .chain_update(&sidecar)
            .chain_update(server.as_deref().unwrap_or_default())
            .finalize();
        let short: String = digest::format_sha256(&both.into())
            .chars()
            .skip("sha256:".len())
            .take(10)
            .collect();
        Ok(Self {
            config_map_name: format!("{}-{short}", plan.object.name),
            sidecar_digest: digest::format_sha256(&Sha256::digest(&sidecar).into()),
            server_digest: server
                .as_ref()
                .map(|server| digest::format_sha256(&Sha256::digest(server).into())),
            sidecar,
            server,
        })
    }

    /// The annotations that name the configuration of an object.
    pub(super) fn annotations(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (
                names::CONFIGURATION_ANNOTATION.to_owned(),
                self.config_map_name.clone(),
            ),
            (
                names::SIDECAR_DIGEST_ANNOTATION.to_owned(),
                self.sidecar_digest.clone(),
            ),
        ])
    }
}

fn yaml(file: &'static str, content: &impl Serialize) -> Result<String, BuildError> {
    serde_yaml::to_string(content).map_err(|source| BuildError::Configuration { file, source })
}

impl ChildKind for ConfigMap {
    const KIND: &'static str = "ConfigMap";

    /// True for an older configuration that no Pod and no existing `ReplicaSet` uses. A `ReplicaSet` without
    /// Pods may be scaled up again, by a rollback or during a rollout.
    fn is_unused(&self, children: &Children<Applied>, existing: &Existing) -> bool {
        let name = self.name_any();
        let of_pods = existing
            .pods
            .iter()
            .chain(&existing.other_pods)
            .map(|pod| pod.annotations());
        let of_replica_sets = existing.replica_sets.iter().filter_map(|replica_set| {
            let template = replica_set.spec.as_ref()?.template.as_ref()?;
            template.metadata.as_ref()?.annotations.as_ref()
        });
        let mut users = of_pods.chain(of_replica_sets);
        name != children.config_map.name_any()
            && !users.any(|annotations| annotations.get(names::CONFIGURATION_ANNOTATION) == Some(&name))
    }
}

pub(super) fn build(plan: &Plan, configuration: &Configuration) -> ConfigMap {
    let server = configuration
        .server
        .clone()
        .map(|server| (SERVER_KEY.to_owned(), server));
    let sidecar = [(SIDECAR_FILE.to_owned(), configuration.sidecar.clone())];
    ConfigMap {
        metadata: metadata(plan, configuration.config_map_name.clone()),
        immutable: Some(true),
        data: Some(sidecar.into_iter().chain(server).collect()),
        ..ConfigMap::default()
    }
}

fn sidecar(plan: &Plan) -> SidecarConfig {
    SidecarConfig {
        object: plan.object.clone(),
        public_url: plan.public_url.clone(),
        entra: plan.entra.clone(),
        upstream: match &plan.kind {
            ServerPlan::AzureDevOps(_) => upstream(),
            ServerPlan::Container(server) => server.endpoint.clone(),
        },
        tenant_address: match &plan.kind {
            ServerPlan::AzureDevOps(server) => Some(server.tenant_address()),
            ServerPlan::Container(_) => None,
        },
        access: plan.access.clone(),
        token_exchange: plan.token_exchange.clone(),
        sessions: plan.sessions.clone(),
        clients: plan.clients.clone(),
        trusted_proxies: plan.trusted_proxies.clone(),
        tracing: plan.tracing.clone(),
        egress_proxy: plan.egress_proxy.clone(),
        listen: SidecarListen {
            public: SocketAddr::new(plan.listen, ports::PUBLIC),
            internal: SocketAddr::new(plan.listen, ports::INTERNAL),
        },
        keyring_file: paths::KEYRING.into(),
        revocations_file: paths::REVOCATIONS.into(),
        admin_socket: paths::ADMIN_SOCKET.into(),
        host_key_file: paths::HOST_KEY.into(),
        termination_grace_period_seconds: plan.pod.termination_grace_period_seconds.unsigned_abs(),
    }
}

fn server_file(plan: &Plan, server: &AzureDevOpsConfig) -> ServerConfig {
    ServerConfig {
        azure_dev_ops: server.clone(),
        // With the exchange in the sidecar the server neither sees a user's token for the application nor
        // may ask for one.
        entra: match plan.token_exchange.at {
            ExchangePlace::Server => Some(plan.entra.clone()),
            ExchangePlace::Sidecar => None,
        },
        token_exchange: plan.token_exchange.clone(),
        certificate_authority_file: plan.entra.certificate_authority_file.clone(),
        host_key_file: paths::HOST_KEY.into(),
        tracing: plan.tracing.clone(),
        egress_proxy: plan.egress_proxy.clone(),
        listen: ServerListen {
            mcp: SocketAddr::new(LOOPBACK, ports::SERVER),
            probes: SocketAddr::new(plan.listen, ports::SERVER_PROBES),
        },
    }
}

/// The loopback address of the built-in server's port. IPv4 loopback exists in every Pod, also in a cluster of IPv6.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn upstream() -> Url {
    let text = format!("http://{LOOPBACK}:{}{}", ports::SERVER, endpoints::MCP);
    #[expect(clippy::expect_used, reason = "made of constants; the golden files show it")]
    Url::parse(&text).expect("constant URL")
}
