//! The configuration file of the auth sidecar.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{AccessConfig, EgressProxy, ObjectIdentity, TokenExchange, TracingConfig};

/// The configuration of the auth sidecar. The operator writes it from one `McpServer`.
///
/// No field has a default, because the operator computes them, and because a sidecar with a missing setting must not
/// start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SidecarConfig {
    /// The object this sidecar serves.
    pub object: ObjectIdentity,

    /// The public origin: OAuth issuer, base of every endpoint; the MCP endpoint is `/mcp` below it.
    /// `https`, or `http` on a loopback host.
    pub public_url: Url,

    /// The Entra application.
    pub entra: EntraConfig,

    /// The server's MCP endpoint, on loopback.
    pub upstream: Url,

    /// The address at which Azure DevOps names the organization's tenant ([`crate::AzureDevOpsConfig::tenant_address`]). Absent
    /// for another server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_address: Option<Url>,

    /// The access that the sidecar asks users for, and the scopes that tools need.
    pub access: AccessConfig,

    /// Where the token is exchanged and how it is injected.
    pub token_exchange: TokenExchange,

    /// Lifetimes of sessions, and their store.
    pub sessions: SessionsConfig,

    /// The MCP clients that may use this server.
    pub clients: ClientsConfig,

    /// Networks of the proxies in front of the Pod whose `X-Forwarded-For` names the client. If it is empty, the header is
    /// ignored and no client address is known: only the limits for all clients together apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<IpNet>,

    /// The collector of traces. Without one the sidecar records none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<TracingConfig>,

    /// The proxy of the installation. Without one the sidecar reaches every host directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_proxy: Option<EgressProxy>,

    /// The addresses to listen on.
    pub listen: SidecarListen,

    /// The keyring file, read at start and whenever it changes.
    pub keyring_file: PathBuf,

    /// The file of revocations ([`crate::Revocations`]), read at start and whenever it changes.
    pub revocations_file: PathBuf,

    /// The Unix socket for administrators, created at start. Only the user of the sidecar may connect.
    pub admin_socket: PathBuf,

    /// The host key file, written before the sidecar reports started.
    pub host_key_file: PathBuf,

    /// The time between the signal to stop and the last answer, in seconds.
    pub termination_grace_period_seconds: u32,
}

/// The Entra application and how to reach Entra.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntraConfig {
    /// The tenant's GUID.
    pub tenant_id: String,

    /// The application's GUID.
    pub client_id: String,

    /// For example `https://login.microsoftonline.com`.
    pub authority: Url,

    /// The scope of the user's token for this application, for example `<clientId>/.default`.
    pub scope: String,

    /// The audience the projected token must name.
    pub federation_audience: String,

    /// PEM file with certificate authorities to trust in addition to the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_file: Option<PathBuf>,
}

impl EntraConfig {
    /// Returns the permission that `scp` of a user token must contain: the first that [`scope`] names, or
    /// `access_as_user` if it names none (`.default`).
    ///
    /// [`scope`]: Self::scope
    pub fn required_scope(&self) -> &str {
        self.scope
            .split_ascii_whitespace()
            // Scopes without a resource are those of the sign-in itself.
            .filter_map(|scope| scope.rsplit_once('/'))
            .map(|(_, permission)| permission)
            .find(|permission| !permission.is_empty() && *permission != ".default")
            .unwrap_or("access_as_user")
    }
}

/// Session lifetimes, in seconds, and the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionsConfig {
    /// Life of an access token.
    pub access_token_lifetime_seconds: u64,

    /// Time without use after which a session ends.
    pub idle_lifetime_seconds: u64,

    /// Time after the login at which a session ends.
    pub maximum_lifetime_seconds: u64,

    /// Time in which a used refresh token gets the same successor again.
    pub refresh_grace_seconds: u64,

    /// The store of the sessions.
    pub store: StoreConfig,
}

/// The store of the sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum StoreConfig {
    /// In the sidecar's memory: one replica, and a restart ends every session.
    Memory,

    /// In Redis 7 or Valkey 8: any number of replicas, and sessions survive restarts.
    Redis(RedisConfig),
}

/// The Redis or Valkey that keeps the sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedisConfig {
    /// Whether the endpoints are one server or nodes of a cluster.
    pub topology: RedisTopology,

    /// `redis://host:port`, or `rediss://host:port` for TLS. A cluster may name several nodes; one is enough to find
    /// the others.
    pub endpoints: Vec<Url>,

    /// How the sidecar authenticates.
    pub authentication: RedisAuthentication,

    /// PEM file with the only certificate authorities to trust for these connections. The system's if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_file: Option<PathBuf>,
}

/// The topology of a Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedisTopology {
    /// One address, behind which one primary answers.
    Standalone,

    /// Redis Cluster.
    Cluster,
}

/// How the sidecar authenticates to Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum RedisAuthentication {
    /// Not at all.
    None,

    /// With a user and a password from files. The sidecar reads them again when they change.
    Secret {
        /// The file with the user's name; the user `default` if it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        username_file: Option<PathBuf>,

        /// The file with the password.
        password_file: PathBuf,
    },

    /// With a token that Entra issues to an application. Its `oid` is the user's name. The sidecar authenticates again
    /// before it expires.
    Entra {
        /// The application or managed identity that the Redis knows. It must trust the Pod's `ServiceAccount`, as the
        /// application of `entra` does. That application if it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,

        /// The scope of the token, for example `https://redis.azure.com/.default`.
        scope: String,
    },
}

/// The MCP clients that may use this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientsConfig {
    /// Dynamic client registration (RFC 7591).
    pub dynamic_registration: DynamicRegistration,

    /// Client ID Metadata Documents.
    pub metadata_documents: MetadataDocumentsConfig,

    /// Whether registering clients may use the known vendors' callbacks.
    pub vendor_redirects: VendorRedirects,

    /// Hosts that https redirect URIs of registering clients may name beside. Loopback is always allowed.
    pub additional_redirect_hosts: Vec<String>,

    /// Clients that need no registration.
    pub r#static: Vec<StaticClient>,

    /// Client ids, addresses of metadata documents, and hosts that are refused.
    pub denied: Vec<String>,

    /// How often a user is asked to approve a client.
    pub consent: Consent,

    /// The applications (`azp`, in lower case) whose Entra user tokens for this application are accepted as bearer. Empty:
    /// only this server's own access tokens are accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entra_token_clients: Vec<String>,
}

/// How often a user is asked to approve a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consent {
    /// At each login.
    Always,

    /// Once in 30 days for each browser, user, redirect URI and set of scopes, if the client is static or has a metadata
    /// document and does not run on the user's computer. At each login of any other client.
    Remember,
}

/// Which Client ID Metadata Documents the sidecar reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetadataDocumentsConfig {
    /// Whether a client may use the address of its document as its id.
    pub policy: MetadataDocumentsPolicy,

    /// The hosts whose documents are read, in lower case. If it is empty, every public host.
    pub allowed_hosts: Vec<String>,

    /// The hosts for which the installation's proxy is asked by name, in lower case. The installation lists them, and no
    /// object can. The proxy is asked for a public address of any other host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts_by_name: Vec<String>,
}

/// Whether a client may use the address of a metadata document as its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataDocumentsPolicy {
    /// The sidecar reads documents and advertises that.
    Enabled,

    /// An address is an unknown client id, and nothing is advertised.
    Disabled,
}

/// Whether the known vendors' callbacks are allowed as redirect URIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VendorRedirects {
    /// Each vendor's callback is allowed.
    Enabled,

    /// A vendor's https callback is allowed only if the additional hosts contain the vendor's host. A callback with a
    /// scheme of its own is not.
    Disabled,
}

/// Whether clients may register themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DynamicRegistration {
    /// `POST /register` answers and is advertised.
    Enabled,

    /// `POST /register` is 404 and not advertised.
    Disabled,
}

/// A client registered by the administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticClient {
    /// The client id.
    pub client_id: String,

    /// The name that the consent page shows.
    pub display_name: String,

    /// The exact redirect URIs.
    pub redirect_uris: Vec<String>,
}

/// The sidecar's two listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SidecarListen {
    /// OAuth endpoints and `/mcp`.
    pub public: SocketAddr,

    /// Probes, metrics and status.
    pub internal: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(scope: &str) -> String {
        let config = EntraConfig {
            tenant_id: String::new(),
            client_id: String::new(),
            authority: Url::parse("https://login.microsoftonline.com").unwrap(),
            scope: scope.to_owned(),
            federation_audience: String::new(),
            certificate_authority_file: None,
        };
        config.required_scope().to_owned()
    }

    #[test]
    fn a_user_token_needs_the_first_permission_of_the_scope() {
        for (scope, expected) in [
            ("7d0c2f1e/.default", "access_as_user"),
            ("api://7d0c2f1e/.default", "access_as_user"),
            ("openid offline_access", "access_as_user"),
            ("7d0c2f1e/", "access_as_user"),
            ("", "access_as_user"),
            ("7d0c2f1e/access_as_user", "access_as_user"),
            ("api://7d0c2f1e/tools.use", "tools.use"),
            ("api://contoso.example/mcp/tools.use", "tools.use"),
            ("openid 7d0c2f1e/tools.use 7d0c2f1e/tools.run", "tools.use"),
        ] {
            assert_eq!(required(scope), expected, "{scope}");
        }
    }
}
