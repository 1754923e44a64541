//! The status document that a sidecar publishes at `:9090/status`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the sidecar saw, published at `:9090/status`. The operator turns it into conditions and adds
/// nothing of its own: a field that was not observed is absent or [`Outcome::Unknown`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDocument {
    /// The digest of the configuration file this sidecar runs with ([`crate::digest`]).
    pub configuration_digest: String,

    /// The keys this sidecar holds.
    pub keyring: KeyringReport,

    /// Whether Entra takes this Pod's token for the application.
    pub federation: FederationReport,

    /// Whether the MCP server answers a real handshake.
    pub handshake: HandshakeReport,

    /// What users' sign-ins tell of the application. Absent from a sidecar that does not look at them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignInReport>,

    /// How sessions are kept.
    pub sessions: SessionsReport,
}

/// The result of one kind of observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Seen to work.
    Verified,

    /// It fails for a reason that somebody must fix.
    Failed,

    /// Not seen yet, or not to be told: an outage, a policy.
    Unknown,
}

/// The federation, proved by a client-credentials request whose token is dropped at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FederationReport {
    /// What was seen.
    pub outcome: Outcome,

    /// `CamelCase`, as a condition's reason.
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

    /// When it was seen; absent before the first probe ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Timestamp>,
}

/// The MCP handshake: initialize (or discover) and a list of tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandshakeReport {
    /// What was seen.
    pub outcome: Outcome,

    /// `CamelCase`, as a condition's reason.
    pub reason: String,

    /// One sentence for the administrator, with the next step.
    pub message: String,

    /// The server that answered. Absent unless verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_info: Option<ServerInfo>,

    /// When it was seen; absent before the first handshake ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Timestamp>,
}

/// What users' sign-ins tell of the application. Nothing of a user is in it: what concerns one user alone is
/// not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignInReport {
    /// What was seen.
    pub outcome: Outcome,

    /// `CamelCase`, as a condition's reason.
    pub reason: String,

    /// One sentence for the administrator, with the next step. It names no correlation id.
    pub message: String,

    /// Entra's correlation id of the refusal, as in the tenant's sign-in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,

    /// When it was seen; absent before the first user came.
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

    /// The protocol revision that was agreed on.
    pub protocol_version: String,

    /// How many tools it listed.
    pub tools: u32,
}

/// The keys a sidecar holds; ids only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyringReport {
    /// The session key that seals.
    pub sealing: String,

    /// Every session key that opens.
    pub opening: Vec<String>,
}

/// How sessions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsReport {
    /// The kind of store in use.
    pub store: StoreKind,
}

/// The kind of session store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreKind {
    /// The sidecar's memory: a restart ends every session.
    Memory,
}
