//! Configuration of the On-Behalf-Of exchange: which container does it, and how the server gets the token.

use serde::{Deserialize, Serialize};

/// How the user's token becomes a token for the downstream API, and how it reaches the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenExchange {
    /// The container that does the On-Behalf-Of exchange.
    pub at: ExchangePlace,

    /// The downstream scope, for example `499b84ac-1321-427f-aa17-267ca6975798/.default`. Absent only with
    /// [`Injection::None`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,

    /// How the token travels on the inner hop.
    pub injection: Injection,
}

impl TokenExchange {
    /// Whether the sidecar exchanges tokens. Without injection nobody does.
    pub fn in_sidecar(&self) -> bool {
        self.at == ExchangePlace::Sidecar && self.injection != Injection::None
    }
}

/// The container that does the On-Behalf-Of exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExchangePlace {
    /// The sidecar: the server's container holds no credential and sees only the downstream token.
    Sidecar,

    /// The server, with a projected token of its own: it sees the user's token for this application.
    Server,
}

/// How the token travels from sidecar to server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Injection {
    /// `Authorization: Bearer`.
    Header,

    /// `params.arguments.bearerToken` of `tools/call`.
    Argument,

    /// No token at all: the server needs to know only that somebody signed in.
    None,
}
