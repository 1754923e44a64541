//! The status of an `McpServer`, which users and GitOps tools read. The operator writes only what it observed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::embedded_list;

/// The operator's observations of this object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpServerStatus {
    /// The generation of the spec that this status describes. It is -1 before the operator has seen the object, so that
    /// no tool takes a new object for a ready one.
    #[serde(default = "never")]
    pub observed_generation: i64,

    /// The newest generation at which federation, MCP handshake and Pods were verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_generation: Option<i64>,

    /// The digest of the template of the Pods that the conditions describe. An edit that leaves it unchanged leaves the
    /// results of these Pods valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub observed_template: Option<String>,

    /// The text of the annotation behalf.dev/reconcile-at whose reconcile ended last. Another text requests a reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_REQUEST_LENGTH))]
    pub last_handled_reconcile_at: Option<String>,

    /// The number of Pods of the Deployment, of all templates. Autoscalers read it through the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// The label selector of the Pods. Autoscalers read it through the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub selector: Option<String>,

    /// The address for MCP clients. Present while Verified is True, and with spec.route also RouteReady.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,

    /// Name, version and number of tools of the MCP server, from its answer to the handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_info: Option<ServerInfo>,

    /// The values that the app registration in Entra needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub federation: Option<FederationStatus>,

    /// The keys that seal sessions, without their material, and the progress of their rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeysStatus>,

    /// The conditions Accepted, Available, FederationVerified, Verified, UserSignIn, SessionsDurable, RevocationsInForce
    /// and Ready; with spec.route RouteReady, and with spec.server.azureDevOps TenantMatches. UpdatePending, Reconciling and
    /// Stalled are present only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        schema_with = "embedded_list::<Condition>",
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

impl McpServerStatus {
    /// Returns the keys, if they are those of this Secret. An earlier spec may have named another one.
    pub fn keys_of(&self, secret: &str) -> Option<&KeysStatus> {
        let keys = self.keys.as_ref();
        keys.filter(|keys| keys.secret_name.as_deref() == Some(secret))
    }
}

fn never() -> i64 {
    -1
}

impl Default for McpServerStatus {
    fn default() -> Self {
        Self {
            observed_generation: never(),
            verified_generation: None,
            observed_template: None,
            last_handled_reconcile_at: None,
            replicas: None,
            selector: None,
            address: None,
            server_info: None,
            federation: None,
            keys: None,
            conditions: Vec::new(),
        }
    }
}

/// The address for MCP clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The address of the MCP endpoint.
    #[schemars(length(max = 512))]
    pub url: String,
}

/// Name, version and number of tools of the MCP server, from its answer to the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// The name of the server.
    #[schemars(length(max = 256))]
    pub name: String,

    /// The version of the server.
    #[schemars(length(max = 256))]
    pub version: String,

    /// The revision of MCP that sidecar and server agreed on.
    #[schemars(length(max = 64))]
    pub protocol_version: String,

    /// The number of tools that the server lists.
    pub tools: i32,
}

/// The values that the app registration in Entra needs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FederationStatus {
    /// The issuer of the cluster's ServiceAccount tokens, as the API server publishes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub issuer: Option<String>,

    /// The subject of the Pods' token, which names the ServiceAccount.
    #[schemars(length(max = 512))]
    pub subject: String,

    /// The audience of the Pods' token.
    #[schemars(length(max = 512))]
    pub audience: String,

    /// The az command that creates the federated identity credential. Present if the spec is accepted and the issuer is
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub command: Option<String>,

    /// The redirect URI to register at the application, for the platform Web.
    #[schemars(length(max = 512))]
    pub redirect_uri: String,
}

/// Maximum number of keys in each of the keyring's sets.
pub const MAX_KEYS: u32 = 64;

/// Maximum length of the text of a request in an annotation.
pub const MAX_REQUEST_LENGTH: u32 = 128;

/// The keys that seal sessions, without their material, and the progress of their rotation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeysStatus {
    /// The id of the key that seals new sessions. With keys.type Secret: the key with which every Pod seals.
    #[schemars(length(max = 16))]
    pub current: String,

    /// The Secret that contains the keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,

    /// Time at which the current key was made. Its age decides when the next rotation begins. Absent with keys.type Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40), extend("format" = "date-time"))]
    pub created_at: Option<Timestamp>,

    /// The id of the key that will seal next. It opens already, and seals once every Pod reports it. With keys.type Secret it
    /// is here when every Pod reports it: it may seal from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub next: Option<String>,

    /// Keys that no longer seal. They open the sessions that they sealed. With keys.type Secret they have no time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_KEYS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"])
    )]
    pub retiring: Vec<RetiringKey>,

    /// The text of the annotation behalf.dev/rotate-keys whose rotation began last. Another text begins a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_REQUEST_LENGTH))]
    pub last_request: Option<String>,
}

/// A key that no longer seals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetiringKey {
    /// The id of the key.
    #[schemars(length(max = 16))]
    pub id: String,

    /// Time from which no session needs the key. The operator then removes it. A key without this time stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40), extend("format" = "date-time"))]
    pub retire_at: Option<Timestamp>,
}
