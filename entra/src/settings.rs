//! The application, its tenant and its authority.

use behalf_contract::is_guid;
use url::{Host, Url};

/// Scope that stands for all delegated Azure DevOps permissions with consent.
pub const AZURE_DEVOPS_SCOPE: &str = "499b84ac-1321-427f-aa17-267ca6975798/.default";

/// Why settings were refused. An administrator must correct them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The authority is neither https nor a loopback address.
    #[error("authority {0} is not usable: give an https origin without user, query or fragment")]
    Authority(String),

    /// The tenant is not named by its id. `common` and domain names issue tokens under other names
    /// (AADSTS50194, AADSTS9001023).
    #[error("tenant id {0:?} is not a GUID: give the directory (tenant) id")]
    TenantId(String),

    /// The application is not named by its id.
    #[error("client id {0:?} is not a GUID: give the application (client) id")]
    ClientId(String),
}

/// The application that this process acts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Origin and optional path, without a slash at the end.
    authority: Url,
    tenant_id: String,
    client_id: String,
}

impl Settings {
    /// Validates the settings. Drops the authority's trailing slash, and turns ids into lower case.
    pub fn new(authority: &Url, tenant_id: &str, client_id: &str) -> Result<Self, SettingsError> {
        let usable = is_https_or_loopback(authority)
            && authority.username().is_empty()
            && authority.password().is_none()
            && authority.query().is_none()
            && authority.fragment().is_none();
        if !usable {
            return Err(SettingsError::Authority(authority.origin().ascii_serialization()));
        }
        if !is_guid(tenant_id) {
            return Err(SettingsError::TenantId(tenant_id.to_owned()));
        }
        if !is_guid(client_id) {
            return Err(SettingsError::ClientId(client_id.to_owned()));
        }
        Ok(Self {
            authority: authority.clone(),
            tenant_id: tenant_id.to_ascii_lowercase(),
            client_id: client_id.to_ascii_lowercase(),
        })
    }

    /// The authority, as given.
    pub fn authority(&self) -> &Url {
        &self.authority
    }

    /// The tenant's id, lower case.
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// The application's id, lower case.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The issuer of this tenant's v2 tokens. The discovery document must name exactly this one
    /// (OpenID Connect Discovery 1.0, section 4.3).
    pub fn issuer(&self) -> String {
        format!(
            "{}/{}/v2.0",
            self.authority.as_str().trim_end_matches('/'),
            self.tenant_id
        )
    }
}

/// Returns the scope of a login: `scope` of this application, and the OpenID Connect scopes that make Entra add
/// `oid`, an id token and a refresh token. The application names itself by GUID (`<client id>/.default`),
/// because a token for oneself is refused under any other name (AADSTS90009).
pub fn sign_in_scope(scope: &str) -> String {
    format!("openid profile offline_access {scope}")
}

/// True for https, and for http to a loopback address.
pub(crate) fn is_https_or_loopback(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.host().is_some(),
        "http" => match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TENANT: &str = "0B4F3A51-6A2C-4C0E-9D3B-2F4E5A6B7C8D";
    const CLIENT: &str = "7d0c2f1e-1111-4222-8333-944445555666";

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[rstest]
    #[case("https://login.microsoftonline.com")]
    #[case("https://login.microsoftonline.com/")]
    fn a_trailing_slash_of_the_authority_does_not_count(#[case] authority: &str) {
        let settings = Settings::new(&url(authority), TENANT, CLIENT).unwrap();
        assert_eq!(
            settings.issuer(),
            "https://login.microsoftonline.com/0b4f3a51-6a2c-4c0e-9d3b-2f4e5a6b7c8d/v2.0"
        );
    }

    #[test]
    fn a_login_asks_for_a_refresh_token() {
        assert_eq!(
            sign_in_scope("7d0c2f1e-1111-4222-8333-944445555666/.default"),
            "openid profile offline_access 7d0c2f1e-1111-4222-8333-944445555666/.default"
        );
    }

    #[rstest]
    #[case("http://127.0.0.1:8443")]
    #[case("http://localhost:8443")]
    #[case("http://[::1]:8443")]
    fn accepts_plain_http_on_loopback(#[case] authority: &str) {
        assert!(Settings::new(&url(authority), TENANT, CLIENT).is_ok());
    }

    #[rstest]
    #[case("http://login.microsoftonline.com")]
    #[case("http://127.0.0.1.contoso.example")]
    #[case("http://notlocalhost")]
    #[case("https://ana@login.microsoftonline.com")]
    #[case("https://login.microsoftonline.com?tenant=1")]
    #[case("https://login.microsoftonline.com#tenant")]
    #[case("file:///etc/authority")]
    fn refuses_an_authority_that_is_not_a_plain_https_origin(#[case] authority: &str) {
        assert!(matches!(
            Settings::new(&url(authority), TENANT, CLIENT),
            Err(SettingsError::Authority(_))
        ));
    }

    #[rstest]
    #[case("common")]
    #[case("organizations")]
    #[case("contoso.example")]
    #[case("0B4F3A51-6A2C-4C0E-9D3B-2F4E5A6B7C8G")]
    #[case("0B4F3A51/6A2C-4C0E-9D3B-2F4E5A6B7C8D")]
    #[case("")]
    fn refuses_a_tenant_that_is_not_a_guid(#[case] tenant: &str) {
        assert!(matches!(
            Settings::new(&url("https://login.microsoftonline.com"), tenant, CLIENT),
            Err(SettingsError::TenantId(_))
        ));
    }

    #[test]
    fn refuses_a_client_that_is_not_a_guid() {
        assert!(matches!(
            Settings::new(&url("https://login.microsoftonline.com"), TENANT, "api://behalf"),
            Err(SettingsError::ClientId(_))
        ));
    }
}
