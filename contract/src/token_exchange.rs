//! Configuration of the On-Behalf-Of exchange: which container does it, and how the server gets the token.

use serde::{Deserialize, Serialize};

/// Where the user token is exchanged for a downstream token, and how a token reaches the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenExchange {
    /// The container that does the On-Behalf-Of exchange.
    pub at: ExchangePlace,

    /// The downstream scope, for example `499b84ac-1321-427f-aa17-267ca6975798/.default`. Absent only with
    /// [`Injection::None`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,

    /// How the sidecar injects the token.
    pub injection: Injection,
}

impl TokenExchange {
    /// Returns true if the sidecar exchanges tokens. Without injection no container does.
    pub fn in_sidecar(&self) -> bool {
        self.at == ExchangePlace::Sidecar && self.injection != Injection::None
    }
}

/// The container that does the On-Behalf-Of exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExchangePlace {
    /// The sidecar. The server's container has no credential and sees only the downstream token.
    Sidecar,

    /// The server, with a projected token of its own. It sees the user token.
    Server,
}

/// How the sidecar injects the token into requests to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Injection {
    /// In the header `Authorization: Bearer`.
    Header,

    /// In `params.arguments.bearerToken` of `tools/call`.
    Argument,

    /// No token is injected. The server only knows that a user signed in.
    None,
}
