//! The configuration file of the built-in Azure DevOps server.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{BUILT_IN_TOOLS, BuiltInTool, EgressProxy, EntraConfig, TokenExchange, Toolset, TracingConfig};

/// The configuration of the built-in Azure DevOps server inside a Pod. On a laptop, flags set the same values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerConfig {
    /// The part of Azure DevOps to serve.
    pub azure_dev_ops: AzureDevOpsConfig,

    /// The Entra application, with which the server validates and exchanges user tokens. Absent unless the exchange is
    /// in the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<EntraConfig>,

    /// Where the token is exchanged and how it arrives.
    pub token_exchange: TokenExchange,

    /// PEM file with certificate authorities to trust in addition to the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_file: Option<PathBuf>,

    /// The file with the host key that every request must carry.
    pub host_key_file: PathBuf,

    /// The collector of traces. Without one the server records none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<TracingConfig>,

    /// The proxy of the installation. Without one the server reaches every host directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_proxy: Option<EgressProxy>,

    /// The addresses to listen on.
    pub listen: ServerListen,
}

/// The part of Azure DevOps to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AzureDevOpsConfig {
    /// Name of the organization, as in `https://dev.azure.com/<organization>`.
    pub organization: String,

    /// Projects that the tools may use. An empty list means every project that the user may see.
    pub projects: Vec<String>,

    /// Leaves out the tools that change something.
    pub read_only: bool,

    /// The groups of tools to offer. An empty list means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub toolsets: Vec<Toolset>,

    /// Addresses of the services of Azure DevOps.
    pub endpoints: AzureDevOpsEndpoints,
}

impl AzureDevOpsConfig {
    /// Returns the tools that the server offers.
    pub fn tools(&self) -> impl Iterator<Item = BuiltInTool> {
        BUILT_IN_TOOLS.into_iter().filter(|tool| {
            let is_in_toolset = self.toolsets.is_empty() || self.toolsets.contains(&tool.toolset);
            is_in_toolset && (tool.reads_only || !self.read_only)
        })
    }

    /// Returns the address that names the organization's tenant in a header of its answer, to anybody.
    pub fn tenant_address(&self) -> Url {
        let mut address = self.endpoints.identity.clone();
        // Fails only for an address without a host, and then there is nothing to ask.
        if let Ok(mut segments) = address.path_segments_mut() {
            segments.pop_if_empty().push(&self.organization);
        }
        address
    }
}

/// The addresses of Azure DevOps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AzureDevOpsEndpoints {
    /// Pipelines and builds: `https://dev.azure.com`.
    pub core: Url,

    /// Classic releases: `https://vsrm.dev.azure.com`.
    pub release: Url,

    /// Identity: `https://vssps.dev.azure.com`.
    pub identity: Url,
}

/// The server's two listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerListen {
    /// Address of the MCP endpoint `/mcp`, on loopback.
    pub mcp: SocketAddr,

    /// Address of the probes.
    pub probes: SocketAddr,
}
