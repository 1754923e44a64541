//! The spec of an `McpServer`. `kubectl explain` shows the comments on fields.

mod clients;
mod container;
mod defaults;
mod duration;
mod entra;
mod keys;
mod network;
mod pod;
mod resources;
mod revocations;
mod route;
mod server;
mod sessions;
mod sidecar;
mod store;
mod token_exchange;
mod tracing;

pub use self::tracing::Tracing;
pub use clients::{
    Clients, Consent, DynamicRegistration, EntraTokens, EntraTokensPolicy, MetadataDocuments,
    MetadataDocumentsPolicy, StaticClient, VendorRedirects,
};
pub use container::Container;
pub use duration::DurationText;
pub use entra::{CertificateAuthorityRef, Entra, Federation};
pub use keys::{KEYS_SUFFIX, KeyringSecretRef, Keys, KeysType, ManagedKeys, SecretKeys};
pub use network::{Egress, Internet, Network, NetworkPolicyMode};
pub use pod::PodSettings;
pub use resources::Resources;
pub use revocations::{Revocations, RevokedUser};
pub use route::{GatewayRoute, ParentRef, Route};
pub use server::{AzureDevOps, AzureDevOpsEndpoints, Server, Toolset};
pub use sessions::Sessions;
pub use sidecar::{LogLevel, Sidecar};
pub use store::{
    CREDENTIALS_SUFFIX, Redis, RedisAuth, RedisAuthType, RedisEntra, RedisSecret, RedisSecretRef,
    RedisTopology, Store, StoreType,
};
pub use token_exchange::{ExchangePlace, Injection, TokenExchange};

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::defaults::is_default;
use super::schema::{PORT, SUBDOMAIN, matches, rule};
use super::status::McpServerStatus;

/// Compares resources of scopes: what is before the last slash. `entra.scope` counts as one scope, because CEL may not take the cost
/// of comparing several with several; `validate/rules/container.rs` does.
const OWN_SCOPE: &str = "!has(self.tokenExchange) || !has(self.tokenExchange.scope) || !has(self.entra.scope) || \
     !self.entra.scope.contains('/') || self.tokenExchange.scope.lowerAscii().split(' ').all(scope, !scope.contains('/') || \
     scope.substring(0, scope.lastIndexOf('/')) != self.entra.scope.lowerAscii().substring(0, self.entra.scope.lastIndexOf('/')))";

/// The MCP server, its public address and its Entra application.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "behalf.dev",
    version = "v1alpha1",
    kind = "McpServer",
    shortname = "mcps",
    category = "behalf",
    namespaced,
    status = "McpServerStatus",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    derive = "PartialEq",
    doc = "An MCP server that acts on behalf of the signed-in user, with no secret anywhere. It becomes a hardened Deployment of an MCP server and an auth sidecar; clients sign in with OAuth, and every call runs under the user's own Entra identity.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.address.url"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(
        name = "Store",
        type_ = "string",
        json_path = ".spec.sessions.store.type",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "!has(self.replicas) || self.replicas <= 1 || self.sessions.store.type != 'Memory'",
        "replicas must be 1 with sessions.store.type Memory: sessions live in one Pod's memory"
    ),
    rule(
        "!has(self.server.container) || !has(self.tokenExchange) || !has(self.tokenExchange.at) || \
         self.tokenExchange.at == 'Sidecar'",
        "tokenExchange.at must be Sidecar with server.container: such a container has no credential; remove the field"
    ),
    rule(
        "!has(self.server.container) || (has(self.tokenExchange) && (has(self.tokenExchange.scope) || \
         (has(self.tokenExchange.injection) && self.tokenExchange.injection == 'None')))",
        "tokenExchange.scope is required with server.container: set it to the scope of the API that the server calls, \
         for example api://<id>/.default, or set tokenExchange.injection to None if the server needs no token"
    ),
    rule(
        "!has(self.tokenExchange) || !has(self.tokenExchange.injection) || self.tokenExchange.injection != 'None' || \
         (has(self.server.container) && !has(self.tokenExchange.scope))",
        "tokenExchange.injection None needs server.container and excludes tokenExchange.scope: no token is obtained"
    ),
    rule(
        "!has(self.server.container) || ((!has(self.pod.labels) || size(self.pod.labels) == 0) && \
         (!has(self.pod.annotations) || size(self.pod.annotations) == 0))",
        "pod.labels and pod.annotations must be empty with server.container: they can put the server behind the Service of \
         others, or give it more than the operator does; remove them"
    ),
    rule(
        "!has(self.server.container) || !has(self.sessions.store.redis) || \
         self.sessions.store.redis.auth.type != 'None'",
        "sessions.store.redis.auth.type must be Entra or Secret with server.container: the server has the network of the \
         sidecar, and could change sessions in a Redis without credentials"
    ),
    rule(
        "!has(self.tokenExchange) || !has(self.tokenExchange.scope) || \
         !self.tokenExchange.scope.lowerAscii().contains(self.entra.clientId.lowerAscii())",
        "tokenExchange.scope must not name the application of entra.clientId: the server would get a token for this server \
         itself; name the API that the server calls"
    ),
    rule(
        OWN_SCOPE,
        "tokenExchange.scope must not name the application of entra.scope: the server would get a token for this server itself; name \
         the API that the server calls"
    ),
    rule(
        r"!has(self.route) || !self.publicUrl.matches('^https?://([0-9.]+|\\[.*\\])(:[0-9]+)?$')",
        "spec.route needs a publicUrl with a host name: an HTTPRoute has no hostname that is an IP address; change publicUrl or \
         remove spec.route"
    ),
    rule(
        "!has(self.clients.entraTokens.clientIds) || \
         !self.clients.entraTokens.clientIds.exists(id, id.lowerAscii() == self.entra.clientId.lowerAscii())",
        "clients.entraTokens.clientIds must not contain entra.clientId: the tokens of this server's own sessions would be \
         accepted, which servers can have; remove it"
    ),
]))]
pub struct McpServerSpec {
    /// The origin under which clients reach this server, for example <https://mcp.contoso.example>. Lower
    /// case, no path, no trailing slash, no default port; https, or http on localhost. It is the OAuth
    /// issuer; MCP is served at /mcp below it. If several McpServers name it, the oldest one owns
    /// it, and the others are refused.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [
        matches(
            &format!(r"^(https://{SUBDOMAIN}|http://(localhost|127\.0\.0\.1|\[::1\]))(:{PORT})?$"),
            "publicUrl must be an origin in lower case without path or trailing slash: https://<host>[:port] with a port of at most 65535, \
             or http:// on localhost, 127.0.0.1 or [::1]"
        ),
        rule(
            "!(self.startsWith('https:') && self.endsWith(':443')) && !(self.startsWith('http:') && self.endsWith(':80'))",
            "publicUrl must leave out the scheme's default port: clients compare issuers as text"
        ),
    ]))]
    pub public_url: String,

    /// True stops all Pods. All other objects stay, also the keyring and the ServiceAccount.
    #[serde(default)]
    pub suspend: bool,

    /// The Entra application that users sign in to.
    pub entra: Entra,

    /// The MCP server.
    pub server: Server,

    /// Where the user's token is exchanged for a downstream token, and how it reaches the server.
    #[serde(default, skip_serializing_if = "is_default")]
    pub token_exchange: TokenExchange,

    /// Lifetimes of the users' sessions, and where sessions are stored.
    #[serde(default)]
    pub sessions: Sessions,

    /// The keys that seal sessions.
    #[serde(default)]
    pub keys: Keys,

    /// Which MCP clients may sign users in.
    #[serde(default)]
    pub clients: Clients,

    /// Number of Pods. By default 2 with sessions.store.type Redis, and 1 with Memory, where no other number is possible.
    /// An autoscaler sets it through the scale subresource, which it can read only if the field is present: set it once with
    /// kubectl scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<i32>,

    /// How requests from outside the cluster reach the Pods. By default no route is made: bring your own Ingress or HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,

    /// Networks (CIDR) of the gateways and ingress controllers in front of the Pods. Behind them the client of a
    /// request is the rightmost address of X-Forwarded-For that is in none of these networks. Must not contain
    /// addresses of clients. If empty, the header is ignored, and all clients together have one limit for
    /// registrations, sign-ins and token requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 4, max = 43)),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [
            rule(
                "self.all(network, !network.endsWith('/0'))",
                "trustedProxies must not contain all addresses: every client could then claim any address; name the networks of your \
                 gateways, for example 10.244.0.0/16"
            ),
            rule(
                "self.all(network, !network.startsWith('::ffff:') && !network.startsWith('::FFFF:'))",
                "trustedProxies must name networks of IPv4 in the form of IPv4: write 10.0.0.0/8 for ::ffff:10.0.0.0/104"
            ),
            rule(
                "self.all(network, network.startsWith('::ffff:') || network.startsWith('::FFFF:') || (isCIDR(network) && cidr(network) == cidr(network).masked()))",
                "trustedProxies must contain networks without bits after the prefix, for example 10.0.0.0/8 or fd00:10::/32; write one \
                 address with /32 or /128"
            ),
        ])
    )]
    pub trusted_proxies: Vec<String>,

    /// Which connections to and from the Pods a NetworkPolicy allows.
    #[serde(default)]
    pub network: Network,

    /// Where the sidecar and the built-in server send traces of requests. By default nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,

    /// The auth sidecar.
    #[serde(default)]
    pub sidecar: Sidecar,

    /// Settings of the Pods.
    #[serde(default)]
    pub pod: PodSettings,
}
