//! Loads and validates the sidecar's configuration.

use std::path::{Path, PathBuf};

use behalf_contract::{Injection, SidecarConfig};
use behalf_runtime::{ConfigFile, ConfigFileError};
use url::{Host, Url};

use crate::http::plain_url::is_plain;

/// Why the configuration cannot be used. Each message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or parsed, or has another digest than expected.
    #[error(transparent)]
    File(#[from] ConfigFileError),

    /// A field has a value that this version does not support.
    #[error("the configuration {} cannot be used: {fault}", path.display())]
    Fault {
        /// Path of the configuration file.
        path: PathBuf,

        /// The field, and the value to write.
        fault: ConfigFault,
    },
}

/// An error in one field, with the value to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct ConfigFault {
    /// Path of the field in the file, with dots.
    pub field: &'static str,

    /// The violated rule and the value to write, as the rest of the message.
    pub problem: &'static str,
}

/// Loads the file. [`ConfigFile::load`] compares its digest with `expected`.
///
/// The operator validates what it writes there. Two fields are checked again, because a wrong value would send users' tokens
/// without TLS, or to a server that should not get them. [`crate::upstream::Upstream::new`] checks the address of the server.
pub fn load(path: &Path, expected: Option<&str>) -> Result<ConfigFile<SidecarConfig>, ConfigError> {
    let file: ConfigFile<SidecarConfig> = ConfigFile::load(path, expected)?;
    check(&file.config).map_err(|fault| ConfigError::Fault {
        path: path.to_owned(),
        fault,
    })?;
    Ok(file)
}

fn check(config: &SidecarConfig) -> Result<(), ConfigFault> {
    let fault = |field, problem| Err(ConfigFault { field, problem });
    if !is_public_origin(&config.public_url) {
        return fault(
            "publicUrl",
            "must be an origin without path, user, query or fragment: https, or http on a loopback host",
        );
    }
    let exchange = &config.token_exchange;
    if exchange.scope.is_none() && exchange.injection != Injection::None {
        return fault(
            "tokenExchange.scope",
            "is missing: name the downstream scope, or set injection to None",
        );
    }
    Ok(())
}

/// True for an origin that can be the issuer. RFC 8414, section 2, allows an issuer no query or fragment. This
/// server allows no path either, so that every well-known URL begins with the issuer byte for byte.
fn is_public_origin(url: &Url) -> bool {
    let secure = match url.scheme() {
        "https" => true,
        "http" => is_local_host(url),
        _ => false,
    };
    secure && url.path() == "/" && is_plain(url)
}

/// True for any address of this machine, also names below `localhost`.
fn is_local_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const FILE: &str = r#"
object: {namespace: mcp, name: azure-devops}
publicUrl: https://mcp.contoso.example
entra:
  tenantId: 0b4f3a51-6a2c-4c0e-9d3b-2f4e5a6b7c8d
  clientId: 7d0c2f1e-1111-4222-8333-944445555666
  authority: https://login.microsoftonline.com
  scope: 7d0c2f1e-1111-4222-8333-944445555666/.default
  federationAudience: api://AzureADTokenExchange
upstream: http://127.0.0.1:3000/mcp
access: {server: {type: AzureDevOps, organization: contoso}, readOnlyTools: [list], writes: true}
tokenExchange: {at: Sidecar, scope: 499b84ac-1321-427f-aa17-267ca6975798/.default, injection: Header}
sessions:
  accessTokenLifetimeSeconds: 3600
  idleLifetimeSeconds: 1209600
  maximumLifetimeSeconds: 7776000
  refreshGraceSeconds: 120
  store: {type: Memory}
clients: {dynamicRegistration: Enabled, metadataDocuments: {policy: Enabled, allowedHosts: []}, vendorRedirects: Enabled, additionalRedirectHosts: [], static: [], denied: [], consent: Always}
listen: {public: "0.0.0.0:8080", internal: "0.0.0.0:9090"}
keyringFile: /var/run/behalf/keyring/keyring.json
revocationsFile: /etc/behalf/revocations/revocations.json
adminSocket: /var/run/behalf/admin/admin.sock
hostKeyFile: /var/run/behalf/host-key/host-key
terminationGracePeriodSeconds: 60
"#;

    fn load_text(text: &str) -> Result<ConfigFile<SidecarConfig>, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        load(file.path(), None)
    }

    #[test]
    fn accepts_a_file_as_the_operator_writes_it() {
        assert_eq!(load_text(FILE).unwrap().config.object.name, "azure-devops");
    }

    #[rstest]
    #[case("publicUrl", "https://mcp.contoso.example", "http://mcp.contoso.example")]
    #[case("publicUrl", "https://mcp.contoso.example", "https://mcp.contoso.example/a")]
    #[case("publicUrl", "https://mcp.contoso.example", "https://ana@mcp.contoso.example")]
    #[case(
        "publicUrl",
        "https://mcp.contoso.example",
        "http://localhost.contoso.example"
    )]
    #[case(
        "tokenExchange.scope",
        "scope: 499b84ac-1321-427f-aa17-267ca6975798/.default, ",
        ""
    )]
    fn refuses_a_value_and_names_its_field(#[case] field: &str, #[case] from: &str, #[case] to: &str) {
        let text = FILE.replacen(from, to, 1);
        assert_ne!(text, FILE);
        match load_text(&text) {
            Err(ConfigError::Fault { fault, .. }) => assert_eq!(fault.field, field),
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case("http://localhost:8080")]
    #[case("http://127.0.0.1:8080")]
    #[case("http://[::1]:8080")]
    fn accepts_a_loopback_origin_without_tls(#[case] origin: &str) {
        assert!(load_text(&FILE.replacen("https://mcp.contoso.example", origin, 1)).is_ok());
    }
}
