//! The status document that a sidecar publishes at `:9090/status`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The observations of the sidecar, published at `:9090/status`. The operator converts them to conditions and adds no
/// others. A field that was not observed is absent or [`Outcome::Unknown`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDocument {
    /// The digest of the configuration file this sidecar runs with ([`crate::digest`]).
    pub configuration_digest: String,

    /// The keys that this sidecar has loaded.
    pub keyring: KeyringReport,

    /// The digest of the file of revocations that is in force in this sidecar ([`crate::digest`]). Absent from a sidecar that
    /// does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocations_digest: Option<String>,

    /// Whether Entra accepts this Pod's token for the application.
    pub federation: FederationReport,

    /// Whether the MCP server answers a real handshake.
    pub handshake: HandshakeReport,

    /// Whether Azure DevOps names the configured tenant for the organization. Absent before the first answer, and for a server
    /// that is not of Azure DevOps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantReport>,

    /// The state of the application as users' sign-ins show it. Absent from a sidecar that does not observe them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignInReport>,

    /// The store of the sessions.
    pub sessions: SessionsReport,
}

/// The result of one kind of observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was seen to work.
    Verified,

    /// It fails for a reason that an administrator must fix.
    Failed,

    /// It was not observed yet, or an outage or a policy prevents the observation.
    Unknown,
}

/// The federation, observed by a client-credentials request whose token is dropped at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FederationReport {
    /// The result of the observation.
    pub outcome: Outcome,

    /// Reason of the condition, in `CamelCase`.
    pub reason: String,

    /// One sentence for the administrator, with the next step. It names no correlation id.
    pub message: String,

    /// Entra's correlation id of the refusal, as in the tenant's sign-in logs. It differs for each try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,

    /// The issuer in the projected token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,

    /// The subject in the projected token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,

    /// The audience in the projected token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,

    /// Time of the observation. Absent until the first probe ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Timestamp>,
}

/// The MCP handshake: initialize (or discover) and a list of tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandshakeReport {
    /// The result of the observation.
    pub outcome: Outcome,

    /// Reason of the condition, in `CamelCase`.
    pub reason: String,

    /// One sentence for the administrator, with the next step.
    pub message: String,

    /// The server that answered. Absent unless verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_info: Option<ServerInfo>,

    /// Whether the server has given out an `Mcp-Session-Id`: it keeps an MCP session for each client, which the servers of
    /// other Pods do not know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_stateful: bool,

    /// Time of the observation. Absent until the first handshake ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Timestamp>,
}

/// The tenant of the organization, asked without a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantReport {
    /// The result of the observation.
    pub outcome: Outcome,

    /// Reason of the condition, in `CamelCase`.
    pub reason: String,

    /// One sentence for the administrator, with the next step.
    pub message: String,

    /// Time of the observation.
    pub observed_at: Timestamp,
}

/// The state of the application as users' sign-ins show it. It contains no data of users, and errors that concern one user
/// alone are not reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignInReport {
    /// The result of the observation.
    pub outcome: Outcome,

    /// Reason of the condition, in `CamelCase`.
    pub reason: String,

    /// One sentence for the administrator, with the next step. It names no correlation id.
    pub message: String,

    /// Entra's correlation id of the refusal, as in the tenant's sign-in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,

    /// Time of the observation. Absent until the first sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Timestamp>,
}

/// The name and version that the MCP server reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// `serverInfo.name`.
    pub name: String,

    /// `serverInfo.version`.
    pub version: String,

    /// The negotiated revision of the protocol.
    pub protocol_version: String,

    /// Number of tools that it listed.
    pub tools: u32,
}

/// The ids of the keys that a sidecar has loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyringReport {
    /// The session key that seals.
    pub sealing: String,

    /// Every session key that opens.
    pub opening: Vec<String>,

    /// The session key that seals next: it is newer than the sealing one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,

    /// Whether the keyring file cannot be used at the moment. The sidecar then goes on with the keys that it loaded before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unusable: bool,
}

/// The store of the sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsReport {
    /// The kind of store in use.
    pub store: StoreKind,

    /// Whether the store answered just now. Absent from a sidecar that does not observe it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,

    /// `maxmemory-policy` of a Redis: what it does when its memory is full. Absent for other stores, and if the Redis does not
    /// say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eviction_policy: Option<String>,
}

/// The kind of session store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreKind {
    /// The sidecar's memory: a restart ends every session.
    Memory,

    /// Redis or Valkey.
    Redis,
}
