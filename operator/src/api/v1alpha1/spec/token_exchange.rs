//! Where the user's token is exchanged, and how the server gets the result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::scope_rule;

/// Where the user's token is exchanged for a downstream token, and how it reaches the server. The defaults depend on
/// the kind of server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenExchange {
    /// Which container exchanges the token. Sidecar (default): the auth sidecar, so the server's container has no
    /// credential. Server: the MCP server, which gets the user's token for this application and a federated token of
    /// its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ExchangePlace")]
    pub at: Option<ExchangePlace>,

    /// The scope of the downstream token. With server.azureDevOps by default all scopes of Azure DevOps that were
    /// consented to, 499b84ac-1321-427f-aa17-267ca6975798/.default. With server.container it is required, unless
    /// injection is None. It must not name the application of entra.clientId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), extend("x-kubernetes-validations" = [scope_rule()]))]
    pub scope: Option<String>,

    /// How the sidecar sends the token to the server. Header (default): in the Authorization header. Argument: as the
    /// argument bearerToken of each tool call. None: not at all, for a
    /// server.container that needs no token; only signed-in users reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Injection")]
    pub injection: Option<Injection>,
}

/// Which container exchanges the user's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExchangePlace {
    /// The auth sidecar.
    Sidecar,

    /// The MCP server.
    Server,
}

/// How the token travels from sidecar to server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Injection {
    /// The `Authorization` header.
    Header,

    /// The argument `bearerToken` of `tools/call`.
    Argument,

    /// No token is sent.
    None,
}
