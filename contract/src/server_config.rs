//! The configuration file of the built-in Azure DevOps server.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{EntraConfig, TokenExchange};

/// Everything the built-in Azure DevOps server is told inside a Pod. On a laptop the same things come
/// from flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerConfig {
    /// The part of Azure DevOps to serve.
    pub azure_dev_ops: AzureDevOpsConfig,

    /// The Entra application: with the exchange in the server it validates users' tokens and exchanges
    /// them; otherwise it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<EntraConfig>,

    /// Where the token is exchanged and how it arrives.
    pub token_exchange: TokenExchange,

    /// Certificate authorities to trust beside the system's, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_file: Option<PathBuf>,

    /// The file with the host key that every request must carry.
    pub host_key_file: PathBuf,

    /// The addresses to listen on.
    pub listen: ServerListen,
}

/// The part of Azure DevOps to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AzureDevOpsConfig {
    /// The organisation's name, as in `https://dev.azure.com/<organisation>`.
    pub organization: String,

    /// The projects that tools may touch; empty means all that the user may see.
    pub projects: Vec<String>,

    /// Leaves out every tool that changes something.
    pub read_only: bool,

    /// The service's addresses.
    pub endpoints: AzureDevOpsEndpoints,
}

/// The addresses of Azure DevOps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AzureDevOpsEndpoints {
    /// `https://dev.azure.com`
    pub core: Url,

    /// `https://vsrm.dev.azure.com`
    pub release: Url,

    /// `https://vssps.dev.azure.com`
    pub identity: Url,
}

/// The server's two listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerListen {
    /// The MCP endpoint `/mcp`; loopback.
    pub mcp: SocketAddr,

    /// Probes.
    pub probes: SocketAddr,
}
