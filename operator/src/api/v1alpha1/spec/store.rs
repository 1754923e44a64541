//! Where sessions are stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CertificateAuthorityRef;
use crate::api::v1alpha1::schema::{GUID, PORT, SUBDOMAIN, key_rule, matches, name_rule, rule};

/// Where sessions are stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rule(
    "has(self.redis) == (self.type == 'Redis')",
    "sessions.store.redis must be set with type Redis, and only then"
)]))]
pub struct Store {
    /// The kind of store. Memory (default): the memory of the Pod. Only one replica is possible then, and a restart ends
    /// every session. Redis: a Redis 7 or Valkey 8 that all Pods share. Sessions survive restarts and updates.
    #[serde(rename = "type", default)]
    pub kind: StoreType,

    /// The Redis or Valkey. Set it with type Redis, and only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
}

/// The kind of session store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum StoreType {
    /// The sidecar's memory.
    #[default]
    Memory,

    /// Redis or Valkey.
    Redis,
}

/// The Redis or Valkey that stores sessions. Its maxmemory-policy must be noeviction: with another one it deletes sessions
/// when its memory is full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "self.topology != 'Standalone' || size(self.endpoints) == 1",
        "sessions.store.redis.endpoints must name exactly one address with topology Standalone"
    ),
    rule(
        "self.auth.type != 'Entra' || self.endpoints.all(endpoint, endpoint.startsWith('rediss:'))",
        "sessions.store.redis.endpoints must use TLS (rediss://) with auth.type Entra: the token would cross the network readable"
    ),
]))]
pub struct Redis {
    /// Whether the endpoints are one server or nodes of a cluster. Standalone (default): one address, behind which one
    /// primary answers. Cluster: Redis Cluster; one endpoint is enough to find the other nodes.
    #[serde(default)]
    pub topology: RedisTopology,

    /// The addresses, for example rediss://redis.example:6380. rediss is Redis over TLS. Name a Service of the cluster with
    /// its namespace, as redis://redis.mcp.svc:6379, so that the NetworkPolicy of the Pods opens the way to it. The nodes of a
    /// cluster on other ports need a rule in network.egress.allow.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 270)),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [
            rule(
                &format!(r"self.all(endpoint, endpoint.matches(r'^rediss?://({SUBDOMAIN}|\[[0-9a-f:.]+\]):{PORT}$'))"),
                "sessions.store.redis.endpoints must be redis://<host>:<port> or rediss://<host>:<port> in lower case, without user, \
                 password or path, the port at most 65535"
            ),
            rule(
                "self.all(endpoint, endpoint.startsWith('rediss:')) || self.all(endpoint, endpoint.startsWith('redis:'))",
                "sessions.store.redis.endpoints must use TLS (rediss://) for all nodes or for none"
            ),
        ])
    )]
    pub endpoints: Vec<String>,

    /// How the Pods authenticate to the Redis.
    pub auth: RedisAuth,

    /// A ConfigMap with the only certificate authorities (PEM) that are trusted for rediss:// addresses. By default those of
    /// the system are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_ref: Option<CertificateAuthorityRef>,
}

/// The topology of a Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum RedisTopology {
    /// One address, behind which one primary answers.
    #[default]
    Standalone,

    /// Redis Cluster.
    Cluster,
}

/// How the Pods authenticate to the Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "has(self.secret) == (self.type == 'Secret')",
        "sessions.store.redis.auth.secret must be set with type Secret, and only then"
    ),
    rule(
        "!has(self.entra) || self.type == 'Entra'",
        "sessions.store.redis.auth.entra must be set with type Entra only"
    ),
]))]
pub struct RedisAuth {
    /// The kind of authentication. None: without a password, for a Redis that only these Pods can reach. Secret: with a
    /// user and a password from a Secret. Entra: with tokens that Entra issues to an application, as Azure Managed Redis
    /// accepts them.
    #[serde(rename = "type")]
    pub kind: RedisAuthType,

    /// The user and the password. Set it with type Secret, and only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<RedisSecret>,

    /// The application that the Redis knows. Set it with type Entra only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<RedisEntra>,
}

/// The kind of authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RedisAuthType {
    /// Without a password.
    None,

    /// With a user and a password from a Secret.
    Secret,

    /// With tokens of Entra.
    Entra,
}

/// The application that the Redis knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisEntra {
    /// The client id of an application or managed identity, a GUID. It must have a federated identity credential for the
    /// ServiceAccount of the Pods. By default the application of spec.entra. The Redis must give access to the object id of
    /// its service principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36), extend("x-kubernetes-validations" = [matches(
        &format!("^{GUID}$"),
        "sessions.store.redis.auth.entra.clientId must be a GUID, the appId or clientId that az prints for the application or the \
         managed identity"
    )]))]
    pub client_id: Option<String>,
}

/// The user and the password of the Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisSecret {
    /// The Secret, in the namespace of this object. The Pods read its values again when they change.
    pub secret_ref: RedisSecretRef,
}

/// The end of the name of each Secret that an object may name. The Pods send its content to the address in the same object.
/// With this name the author of the Secret agrees to that.
pub const CREDENTIALS_SUFFIX: &str = "behalf-store";

/// A Secret with a user and a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisSecretRef {
    /// Name of the Secret. It must end in behalf-store, for example azure-devops-behalf-store: with this name the author of
    /// the Secret allows everybody who may write McpServers of the namespace to use it.
    #[schemars(
        length(min = 1, max = 253),
        extend("x-kubernetes-validations" = [name_rule(), rule(
            "self.endsWith('behalf-store')",
            "the name of the Secret in sessions.store.redis.auth must end in behalf-store"
        )])
    )]
    pub name: String,

    /// The key that contains the user's name. By default the user is named default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [key_rule("username")]))]
    pub username_key: Option<String>,

    /// The key that contains the password.
    #[serde(default = "password_key")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [key_rule("password")]))]
    pub password_key: String,
}

fn password_key() -> String {
    "password".to_owned()
}
