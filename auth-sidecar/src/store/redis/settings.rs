//! The configured Redis, checked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::redis::aio::{ConnectionLike as _, MultiplexedConnection};
use ::redis::cluster::{ClusterClient, ClusterClientBuilder, NodeAddress};
use ::redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo as _, ProtocolVersion, PushInfo, RedisError,
    TlsCertificates,
};
use behalf_contract::{RedisAuthentication, RedisConfig, RedisTopology};
use behalf_entra::EntraClient;
use futures::{FutureExt as _, future};
use url::Url;

use super::announcements::Announcements;
use super::client::RedisConnection;
use super::credentials::Credentials;
use super::entra_credentials::EntraCredentials;
use super::node_names::NamesByAddress;
use super::scan;
use crate::http::plain_url::is_plain;

/// Maximum time to open a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// Maximum time for an answer. Redis answers within a millisecond; a client waits for a whole tool call anyway.
const COMMAND: Duration = Duration::from_secs(1);

/// How often the cluster client sends one command, with pauses of [`RETRY_PAUSE`]. A cluster that moves a slot or
/// promotes a replica refuses commands for a moment.
const CLUSTER_RETRIES: u32 = 3;

/// Shortest and longest pause between two attempts of the cluster client, in milliseconds.
const RETRY_PAUSE: (u64, u64) = (50, 300);

/// Why the configured Redis cannot be used. An administrator must correct `spec.sessions.store.redis`.
#[derive(Debug, thiserror::Error)]
pub enum RedisSettingsError {
    /// The number of addresses does not fit the topology.
    #[error(
        "endpoints names {count} addresses: topology Standalone needs exactly one, topology Cluster at least one"
    )]
    Count {
        /// The number of addresses.
        count: usize,
    },

    /// An address has another form.
    #[error("the endpoint {endpoint} is none of redis://host:port and rediss://host:port")]
    Endpoint {
        /// The address without its user and password.
        endpoint: Url,
    },

    /// A token of Entra would cross the network readable.
    #[error("authentication with Entra needs rediss:// endpoints: the token is a password")]
    PlainToken,

    /// This process made no client for Entra.
    #[error("there is no client of Entra for the session store: this is a defect of the sidecar")]
    NoEntra,

    /// Some addresses are `redis://`, others `rediss://`.
    #[error("endpoints mixes redis:// and rediss://: use TLS for all nodes of a cluster or for none")]
    MixedTls,
}

/// The configured Redis.
pub(super) struct Settings {
    topology: RedisTopology,
    endpoints: Vec<Url>,
    certificate_authority_file: Option<PathBuf>,
    credentials: Option<Credentials>,
}

impl Settings {
    /// `entra` is the client of the application that [`RedisAuthentication::Entra`] names.
    pub(super) fn new(config: &RedisConfig, entra: Option<EntraClient>) -> Result<Self, RedisSettingsError> {
        let count = config.endpoints.len();
        if count == 0 || (config.topology == RedisTopology::Standalone && count > 1) {
            return Err(RedisSettingsError::Count { count });
        }
        for endpoint in &config.endpoints {
            check(endpoint)?;
        }
        let scheme = config.endpoints.first().map(Url::scheme);
        if config
            .endpoints
            .iter()
            .any(|endpoint| Some(endpoint.scheme()) != scheme)
        {
            return Err(RedisSettingsError::MixedTls);
        }
        let credentials = match &config.authentication {
            RedisAuthentication::None => None,
            RedisAuthentication::Secret {
                username_file,
                password_file,
            } => Some(Credentials::Files {
                username: username_file.clone(),
                password: password_file.clone(),
            }),
            RedisAuthentication::Entra { scope, .. } => {
                if !config.endpoints.iter().all(is_tls_or_loopback) {
                    return Err(RedisSettingsError::PlainToken);
                }
                let entra = entra.ok_or(RedisSettingsError::NoEntra)?;
                Some(Credentials::Entra(EntraCredentials::new(entra, scope)))
            }
        };
        Ok(Self {
            topology: config.topology,
            endpoints: config.endpoints.clone(),
            certificate_authority_file: config.certificate_authority_file.clone(),
            credentials,
        })
    }

    /// Opens a connection with the certificates and the credentials of this moment. It receives announcements.
    pub(super) async fn open(&self, announcements: &Announcements) -> Result<RedisConnection, RedisError> {
        let channel = announcements.channel();
        let mut connection = match self.topology {
            RedisTopology::Standalone => {
                let config = connection_config().set_push_sender(receiver(announcements.clone()));
                let endpoint = self.endpoints.first().map_or("", Url::as_str);
                RedisConnection::Standalone(self.open_server(endpoint, config).await?)
            }
            RedisTopology::Cluster => {
                let client = self.cluster_client(announcements.clone()).await?;
                RedisConnection::Cluster(client.get_async_connection().await?)
            }
        };
        connection.subscribe(channel).await?;
        Ok(connection)
    }

    /// Opens a connection to the server or node at this address.
    async fn open_server(
        &self,
        endpoint: &str,
        mut config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, RedisError> {
        let endpoint = endpoint.into_connection_info()?;
        // Only RESP3 carries announcements and answers in one connection.
        let redis = endpoint
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            // A user needs one right less without the library's name.
            .set_skip_set_lib_name();
        let endpoint = endpoint.set_redis_settings(redis);
        let client = match self.certificates().await? {
            Some(certificates) => Client::build_with_tls(endpoint, certificates)?,
            None => Client::open(endpoint)?,
        };
        if let Some(credentials) = &self.credentials {
            config = config.set_credentials_provider(credentials.clone());
        }
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn cluster_client(&self, announcements: Announcements) -> Result<ClusterClient, RedisError> {
        let nodes = self.endpoints.iter().map(Url::as_str);
        let mut builder = ClusterClientBuilder::new(nodes)
            .use_protocol(ProtocolVersion::RESP3)
            .push_sender(receiver(announcements))
            .connection_timeout(CONNECT)
            .response_timeout(COMMAND)
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(RETRY_PAUSE.0)
            .max_retry_wait(RETRY_PAUSE.1)
            .node_address_map(self.node_names().await);
        if let Some(certificates) = self.certificates().await? {
            builder = builder.certs(certificates);
        }
        if let Some(credentials) = &self.credentials {
            builder = builder.set_credentials_provider(credentials.clone());
        }
        builder.build()
    }

    /// Returns the names of the nodes that announce addresses, with TLS. A node that appears later has none: commands to it
    /// fail, which opens another connection with another map.
    async fn node_names(&self) -> HashMap<NodeAddress, NodeAddress> {
        if self
            .endpoints
            .iter()
            .any(|endpoint| endpoint.scheme() != "rediss")
        {
            return HashMap::new();
        }
        // A name that is not found in time leaves its node as it announces itself.
        let names = NamesByAddress::of(&self.endpoints, CONNECT).await;
        if names.is_empty() {
            return HashMap::new();
        }
        let answers = self
            .endpoints
            .iter()
            .map(|endpoint| self.nodes_at(endpoint).boxed());
        match future::select_ok(answers).await {
            Ok((nodes, _)) => names.of_nodes(nodes),
            // The client of the cluster reports the error.
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(
                    error,
                    "No endpoint of the session store names the nodes of the cluster"
                );
                HashMap::new()
            }
        }
    }

    /// The addresses of the nodes, as the node at this address announces them.
    async fn nodes_at(&self, endpoint: &Url) -> Result<Vec<(String, u16)>, RedisError> {
        let mut connection = self.open_server(endpoint.as_str(), connection_config()).await?;
        scan::nodes(connection.req_packed_command(&scan::slots()).await?)
    }

    /// The certificate authorities of the file. New connections follow its changes.
    async fn certificates(&self) -> Result<Option<TlsCertificates>, RedisError> {
        let Some(path) = &self.certificate_authority_file else {
            return Ok(None);
        };
        let root_cert = tokio::fs::read(path).await?;
        Ok(Some(TlsCertificates {
            client_tls: None,
            root_cert: Some(root_cert),
        }))
    }
}

fn connection_config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(COMMAND))
}

fn receiver(announcements: Announcements) -> impl Fn(PushInfo) -> Result<(), Infallible> {
    move |push| {
        announcements.received(push);
        Ok(())
    }
}

fn check(endpoint: &Url) -> Result<(), RedisSettingsError> {
    let complete = endpoint.has_host() && endpoint.port().is_some();
    let is_root = matches!(endpoint.path(), "" | "/");
    if complete && is_root && is_plain(endpoint) && matches!(endpoint.scheme(), "redis" | "rediss") {
        return Ok(());
    }
    let mut endpoint = endpoint.clone();
    // Both fail only for addresses that have no user.
    let _ = endpoint.set_username("");
    let _ = endpoint.set_password(None);
    Err(RedisSettingsError::Endpoint { endpoint })
}

fn is_tls_or_loopback(endpoint: &Url) -> bool {
    // The address of a scheme that is not of the web stays a text.
    let host = endpoint.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    endpoint.scheme() == "rediss" || host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(topology: RedisTopology, endpoints: &[&str]) -> Result<(), RedisSettingsError> {
        settings_with(topology, endpoints, RedisAuthentication::None)
    }

    fn settings_with(
        topology: RedisTopology,
        endpoints: &[&str],
        authentication: RedisAuthentication,
    ) -> Result<(), RedisSettingsError> {
        let config = RedisConfig {
            topology,
            endpoints: endpoints.iter().map(|text| Url::parse(text).unwrap()).collect(),
            authentication,
            certificate_authority_file: None,
        };
        Settings::new(&config, None).map(drop)
    }

    #[test]
    fn a_token_of_entra_is_not_sent_without_tls() {
        for (endpoint, is_refused) in [
            ("redis://redis:6379", true),
            ("redis://10.0.0.1:6379", true),
            ("redis://127.0.0.1.example:6379", true),
            ("redis://127.0.0.1:6379", false),
            ("redis://[::1]:6379", false),
            ("rediss://redis.example:10000", false),
        ] {
            let entra = RedisAuthentication::Entra {
                client_id: None,
                scope: "https://redis.azure.com/.default".to_owned(),
            };
            let refused = settings_with(RedisTopology::Standalone, &[endpoint], entra);
            let is_plain = matches!(refused, Err(RedisSettingsError::PlainToken));
            assert_eq!(is_plain, is_refused, "{endpoint}");
        }
    }

    #[test]
    fn addresses_are_a_scheme_a_host_and_a_port() {
        for endpoint in [
            "redis://redis:6379",
            "rediss://redis.example:10000/",
            "redis://[::1]:6379",
        ] {
            settings(RedisTopology::Standalone, &[endpoint]).unwrap();
        }
        for endpoint in [
            "redis://redis",
            "http://redis:6379",
            "redis://redis:6379/1",
            "redis://redis:6379?protocol=resp3",
            "rediss://redis:6379/#insecure",
            "redis+unix:///run/redis.sock",
        ] {
            let refused = settings(RedisTopology::Standalone, &[endpoint]);
            assert!(
                matches!(refused, Err(RedisSettingsError::Endpoint { .. })),
                "{endpoint}"
            );
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let refused = settings(RedisTopology::Standalone, &["redis://user:hunter2@redis:6379"]);
        let message = refused.unwrap_err().to_string();
        assert!(
            message.contains("redis:6379") && !message.contains("hunter2"),
            "{message}"
        );
    }

    #[test]
    fn one_address_is_standalone_and_more_are_a_cluster() {
        let two = ["redis://a:6379", "redis://b:6379"];
        assert!(matches!(
            settings(RedisTopology::Standalone, &two),
            Err(RedisSettingsError::Count { count: 2 })
        ));
        settings(RedisTopology::Cluster, &two).unwrap();
        assert!(matches!(
            settings(RedisTopology::Cluster, &[]),
            Err(RedisSettingsError::Count { count: 0 })
        ));
        assert!(matches!(
            settings(RedisTopology::Cluster, &["redis://a:6379", "rediss://b:6379"]),
            Err(RedisSettingsError::MixedTls)
        ));
    }
}
