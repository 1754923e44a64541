//! Commands and flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use behalf_contract::{AzureDevOpsConfig, AzureDevOpsEndpoints, Toolset, digest, paths};
use behalf_runtime::LogLevel;
use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

/// An MCP server for Azure DevOps that acts with the rights of the signed-in user.
#[derive(Debug, Parser)]
#[command(name = "behalf-mcp-server", version)]
pub struct Cli {
    /// Log level of this program.
    #[arg(
        long,
        value_name = "LEVEL",
        global = true,
        env = "BEHALF_LOG",
        default_value = "Info",
        ignore_case = true
    )]
    pub log: LogLevel,

    /// The mode of the server.
    #[command(subcommand)]
    pub command: Command,
}

/// The modes of the server.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve inside a Pod, behind the auth sidecar.
    Serve {
        /// The configuration that the operator wrote.
        #[arg(long, env = "BEHALF_CONFIG", default_value = paths::SERVER_CONFIG)]
        config: PathBuf,

        /// SHA-256 that the configuration must have; the operator sets it.
        #[arg(long, value_name = "SHA256", env = digest::VARIABLE)]
        configuration_digest: Option<String>,

        /// Ask Azure DevOps for 401 instead of its sign-in page.
        #[arg(long, env = "BEHALF_SUPPRESS_SIGN_IN_PAGE")]
        suppress_sign_in_page: bool,
    },

    /// Serve over standard input and output, with the Azure CLI's login.
    Stdio {
        /// The settings of a laptop.
        #[command(flatten)]
        local: Local,
    },

    /// Serve over HTTP on a loopback address, with the Azure CLI's login.
    Http {
        /// The settings of a laptop.
        #[command(flatten)]
        local: Local,

        /// Loopback address to listen on; the MCP endpoint is /mcp. Every program that can connect to it
        /// acts as you: on a machine with other users choose stdio.
        #[arg(long, env = "BEHALF_LISTEN", default_value = "127.0.0.1:3000")]
        listen: SocketAddr,
    },
}

/// The settings of a laptop.
#[derive(Debug, Args)]
pub struct Local {
    /// The name of the organization: contoso for dev.azure.com/contoso.
    #[arg(long, env = "BEHALF_ORGANIZATION")]
    pub organization: String,

    /// Project that the tools may use; repeat the flag for several; without it, every project that you can see.
    #[arg(long = "project", env = "BEHALF_PROJECTS", value_delimiter = ',')]
    pub projects: Vec<String>,

    /// Leave out every tool that changes something.
    #[arg(long, env = "BEHALF_READ_ONLY")]
    pub read_only: bool,

    /// Group of tools to offer; repeat the flag for several; without it, all.
    #[arg(
        long = "toolset",
        env = "BEHALF_TOOLSETS",
        value_delimiter = ',',
        ignore_case = true
    )]
    pub toolsets: Vec<ToolsetName>,

    /// Tenant to sign in to instead of the Azure CLI's default.
    #[arg(long, env = "BEHALF_TENANT")]
    pub tenant: Option<String>,

    /// Address of Azure DevOps.
    #[arg(long, env = "BEHALF_CORE_ENDPOINT", default_value = "https://dev.azure.com")]
    pub core_endpoint: Url,

    /// Address of classic releases.
    #[arg(
        long,
        env = "BEHALF_RELEASE_ENDPOINT",
        default_value = "https://vsrm.dev.azure.com"
    )]
    pub release_endpoint: Url,

    /// Address of the identity service.
    #[arg(
        long,
        env = "BEHALF_IDENTITY_ENDPOINT",
        default_value = "https://vssps.dev.azure.com"
    )]
    pub identity_endpoint: Url,

    /// PEM file with certificate authorities to trust in addition to the system's.
    #[arg(long, env = "BEHALF_CERTIFICATE_AUTHORITY")]
    pub certificate_authority: Option<PathBuf>,

    /// Ask Azure DevOps for 401 instead of its sign-in page.
    #[arg(long, env = "BEHALF_SUPPRESS_SIGN_IN_PAGE")]
    pub suppress_sign_in_page: bool,
}

/// A group of tools.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ToolsetName {
    /// Pipelines, their runs and logs.
    Pipelines,

    /// Classic releases and their deployments.
    Releases,
}

impl From<ToolsetName> for Toolset {
    fn from(name: ToolsetName) -> Self {
        match name {
            ToolsetName::Pipelines => Self::Pipelines,
            ToolsetName::Releases => Self::Releases,
        }
    }
}

impl Local {
    /// Returns the settings in the form of a Pod's configuration.
    pub fn azure_devops(&self) -> AzureDevOpsConfig {
        AzureDevOpsConfig {
            organization: self.organization.clone(),
            projects: self.projects.clone(),
            read_only: self.read_only,
            toolsets: self.toolsets.iter().copied().map(Toolset::from).collect(),
            endpoints: AzureDevOpsEndpoints {
                core: self.core_endpoint.clone(),
                release: self.release_endpoint.clone(),
                identity: self.identity_endpoint.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn reads_the_digest_of_the_configuration_from_the_pod_template() {
        use clap::CommandFactory as _;
        let command = Cli::command();
        let digest = command
            .find_subcommand("serve")
            .unwrap()
            .get_arguments()
            .find(|argument| argument.get_id() == "configuration_digest");
        assert_eq!(digest.unwrap().get_env().unwrap(), "BEHALF_CONFIGURATION_DIGEST");
    }

    #[test]
    fn reads_the_flags_of_a_laptop() {
        let cli = Cli::try_parse_from(
            "behalf-mcp-server stdio --organization contoso --project shop --project pay --read-only --toolset releases --log debug"
                .split(' '),
        )
        .unwrap();
        let Command::Stdio { local } = cli.command else {
            panic!("not stdio")
        };
        let config = local.azure_devops();
        assert_eq!(config.projects, ["shop", "pay"]);
        assert!(config.read_only);
        assert_eq!(config.toolsets, [Toolset::Releases]);
        assert_eq!(config.endpoints.core.as_str(), "https://dev.azure.com/");
    }
}
