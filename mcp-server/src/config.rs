//! Loads and checks the configuration. The server ends if a setting is missing or invalid; it replaces none by a guess.

use std::net::SocketAddr;
use std::path::Path;

use behalf_contract::{AzureDevOpsConfig, ExchangePlace, Injection, ServerConfig};
use behalf_runtime::{ConfigFile, ConfigFileError};
use url::{Host, Url};

use crate::tools::check_name;

/// Maximum length of an organization name in bytes, as in Azure DevOps.
const MAX_ORGANIZATION_LENGTH: usize = 50;

/// Why the configuration is refused. The operator wrote it in a Pod; the flags of a person contain it on a laptop.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or parsed, or has another digest than the operator set.
    #[error(transparent)]
    File(#[from] ConfigFileError),

    /// The value is not the name of an organization.
    #[error(
        "{0:?} is not the name of an Azure DevOps organization: give contoso for https://dev.azure.com/contoso"
    )]
    Organization(String),

    /// The value is not the name of a project.
    #[error("{0:?} is not the name of an Azure DevOps project")]
    Project(String),

    /// The address would receive tokens without encryption.
    #[error("the {name} endpoint {address} must be an https origin: tokens are sent there")]
    Endpoint {
        /// `core`, `release` or `identity`.
        name: &'static str,

        /// The configured address.
        address: Url,
    },

    /// The address of the collector is not an origin.
    #[error(
        "tracing.endpoint must be an origin without path, user, query or fragment: http or https, host and port"
    )]
    Collector,

    /// Other machines could connect to the address.
    #[error(
        "the MCP endpoint must listen on a loopback address, not on {0}: there is no open mode; to serve others, \
         create an McpServer in a cluster"
    )]
    NotLoopback(SocketAddr),

    /// The sidecar would inject no token.
    #[error("the Azure DevOps server needs a token: set tokenExchange.injection to Header or Argument")]
    NoInjection,

    /// The application or the scope for the exchange is missing.
    #[error(
        "with the exchange in the server the configuration must name the Entra application and the scope"
    )]
    NoApplication,

    /// The federated token for the exchange is missing.
    #[error(
        "with the exchange in the server {} must name the projected ServiceAccount token: the operator sets it",
        behalf_contract::paths::FEDERATED_TOKEN_VARIABLE
    )]
    NoFederatedToken,
}

/// Loads and checks the file of a Pod. `expected` is the digest that [`ConfigFile::load`] compares.
pub fn load(path: &Path, expected: Option<&str>) -> Result<ServerConfig, ConfigError> {
    let file: ConfigFile<ServerConfig> = ConfigFile::load(path, expected)?;
    check(&file.config)?;
    Ok(file.config)
}

/// Checks the configuration without a file and without a network.
pub fn check(config: &ServerConfig) -> Result<(), ConfigError> {
    check_azure_devops(&config.azure_dev_ops)?;
    check_listen(config.listen.mcp)?;
    if config
        .tracing
        .as_ref()
        .is_some_and(|tracing| !tracing.is_origin())
    {
        return Err(ConfigError::Collector);
    }
    if config.token_exchange.injection == Injection::None {
        return Err(ConfigError::NoInjection);
    }
    if config.token_exchange.at == ExchangePlace::Server
        && (config.entra.is_none() || config.token_exchange.scope.is_none())
    {
        return Err(ConfigError::NoApplication);
    }
    Ok(())
}

/// Checks the organization, the projects and the addresses of Azure DevOps.
pub fn check_azure_devops(config: &AzureDevOpsConfig) -> Result<(), ConfigError> {
    let organization = &config.organization;
    let well_formed = (1..=MAX_ORGANIZATION_LENGTH).contains(&organization.len())
        && organization
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !organization.starts_with('-')
        && !organization.ends_with('-');
    if !well_formed {
        return Err(ConfigError::Organization(organization.clone()));
    }
    if let Some(project) = config
        .projects
        .iter()
        .find(|project| check_name(project).is_err())
    {
        return Err(ConfigError::Project(project.clone()));
    }
    let endpoints = &config.endpoints;
    for (name, address) in [
        ("core", &endpoints.core),
        ("release", &endpoints.release),
        ("identity", &endpoints.identity),
    ] {
        if !is_safe(address) {
            return Err(ConfigError::Endpoint {
                name,
                address: address.clone(),
            });
        }
    }
    Ok(())
}

/// Checks that only this machine can connect to the MCP endpoint.
pub fn check_listen(address: SocketAddr) -> Result<(), ConfigError> {
    if address.ip().is_loopback() {
        Ok(())
    } else {
        Err(ConfigError::NotLoopback(address))
    }
}

/// Returns true for https, and for http that does not leave the machine.
fn is_safe(address: &Url) -> bool {
    let loopback = match address.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let encrypted = address.scheme() == "https" || (address.scheme() == "http" && loopback);
    encrypted
        && address.username().is_empty()
        && address.password().is_none()
        && address.query().is_none()
        && address.fragment().is_none()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const WHOLE: &str = "
azureDevOps:
  organization: contoso
  projects: [shop]
  readOnly: false
  endpoints: {core: 'https://dev.azure.com', release: 'https://vsrm.dev.azure.com', identity: 'https://vssps.dev.azure.com'}
entra:
  tenantId: 0b4f3a51-6a2c-4c0e-9d3b-2f4e5a6b7c8d
  clientId: 7d0c2f1e-1111-4222-8333-944445555666
  authority: https://login.microsoftonline.com
  scope: 7d0c2f1e-1111-4222-8333-944445555666/.default
  federationAudience: api://AzureADTokenExchange
tokenExchange: {at: Server, scope: 499b84ac-1321-427f-aa17-267ca6975798/.default, injection: Argument}
hostKeyFile: /var/run/behalf/host-key/host-key
listen: {mcp: '127.0.0.1:3000', probes: '0.0.0.0:3001'}
";

    fn read(text: &str) -> Result<ServerConfig, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        load(file.path(), None)
    }

    #[test]
    fn reads_a_file_as_the_operator_writes_it() {
        assert_eq!(read(WHOLE).unwrap().azure_dev_ops.projects, ["shop"]);
    }

    #[rstest]
    #[case("127.0.0.1:3000", "0.0.0.0:3000", "no open mode")]
    #[case("127.0.0.1:3000", "[::]:3000", "no open mode")]
    #[case(
        "organization: contoso",
        "organization: contoso/other",
        "name of an Azure DevOps organization"
    )]
    #[case(
        "projects: [shop]",
        "projects: [shop, '..']",
        "name of an Azure DevOps project"
    )]
    #[case("https://vsrm.dev", "http://vsrm.dev", "release endpoint")]
    #[case("https://dev.azure.com", "https://ana@dev.azure.com", "core endpoint")]
    #[case("injection: Argument", "injection: None", "needs a token")]
    #[case("hostKeyFile: /var", "hostKey: /var", "does not fit this version")]
    fn refuses_an_invalid_setting(#[case] from: &str, #[case] to: &str, #[case] expected: &str) {
        let error = read(&WHOLE.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn requires_an_application_and_a_scope_for_the_exchange_in_the_server() {
        let mut config = read(WHOLE).unwrap();
        config.token_exchange.scope = None;
        assert!(matches!(check(&config), Err(ConfigError::NoApplication)));
        config.entra = None;
        config.token_exchange.at = ExchangePlace::Sidecar;
        assert!(check(&config).is_ok());
    }
}
