//! The installation policy: the hosts that objects may name. An administrator sets it when the operator is installed;
//! users who may write objects cannot change it. See `docs/adr/0008-the-installation-says-where-tokens-go.md`.

use url::Url;

/// The authorities of Entra: public, US Government and China.
/// <https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>
pub const ENTRA_HOSTS: [&str; 3] = [
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
];

/// The hosts of Azure DevOps Services: projects and pipelines, classic releases, identities.
pub const AZURE_DEV_OPS_HOSTS: [&str; 3] = ["dev.azure.com", "vsrm.dev.azure.com", "vssps.dev.azure.com"];

/// What the fields of an object may name that decide who gets a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Hosts of `entra.authority`: `host`, or `host:port` where the port is not 443.
    pub entra_hosts: Vec<String>,

    /// Hosts of `server.azureDevOps.endpoints`, written in the same way.
    pub azure_dev_ops_hosts: Vec<String>,

    /// Hosts of https redirect URIs that objects may name beside the known vendors' callbacks, written in the same way.
    pub redirect_hosts: Vec<String>,
}

impl Allowed {
    /// Whether Entra may be there.
    pub fn entra(&self, url: &Url) -> bool {
        lists(&self.entra_hosts, url)
    }

    /// Whether Azure DevOps may be there.
    pub fn azure_dev_ops(&self, url: &Url) -> bool {
        lists(&self.azure_dev_ops_hosts, url)
    }

    /// Returns whether authorization codes may be sent to this https address.
    pub fn redirect(&self, url: &Url) -> bool {
        lists(&self.redirect_hosts, url)
    }
}

fn lists(hosts: &[String], url: &Url) -> bool {
    host(url).is_some_and(|host| hosts.contains(&host))
}

/// The host of an https address as lists name it.
pub fn host(url: &Url) -> Option<String> {
    let origin = url.origin().ascii_serialization();
    origin.strip_prefix("https://").map(str::to_owned)
}

/// Why an entry of a list means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Meaningless {
    /// It would match no address.
    #[error(
        "{0:?} is no host: write <host> or <host>:<port> in lower case, without scheme, path or port 443"
    )]
    Host(String),
}

/// Reads an entry of a list of hosts.
pub fn parse_host(text: &str) -> Result<String, Meaningless> {
    let origin = format!("https://{text}");
    // The URL standard accepts a wildcard as a host, but no host has this name.
    match Url::parse(&origin) {
        Ok(url) if url.origin().ascii_serialization() == origin && !text.contains('*') => Ok(text.to_owned()),
        _ => Err(Meaningless::Host(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn allowed() -> Allowed {
        Allowed {
            entra_hosts: vec!["login.contoso.example".to_owned(), "[fd00::7]:8443".to_owned()],
            azure_dev_ops_hosts: Vec::new(),
            redirect_hosts: Vec::new(),
        }
    }

    #[rstest]
    #[case("https://login.contoso.example", true)]
    #[case("https://[fd00::7]:8443", true)]
    #[case::other_port("https://login.contoso.example:8443", false)]
    #[case::no_port("https://[fd00::7]", false)]
    #[case::below("https://a.login.contoso.example", false)]
    #[case::behind("https://login.contoso.example.evil.example", false)]
    #[case::root_dot("https://login.contoso.example.", false)]
    #[case::in_the_clear("http://login.contoso.example", false)]
    fn a_host_is_compared_whole(#[case] url: &str, #[case] expected: bool) {
        let url = Url::parse(url).unwrap();
        assert_eq!(allowed().entra(&url), expected);
        assert!(!allowed().azure_dev_ops(&url), "each list stands for itself");
    }

    #[rstest]
    #[case("https://login.contoso.example")]
    #[case("Login.contoso.example")]
    #[case("login.contoso.example/")]
    #[case("login.contoso.example:443")]
    #[case("*.contoso.example")]
    #[case("")]
    fn an_entry_that_no_address_matches_is_no_host(#[case] text: &str) {
        assert_eq!(parse_host(text), Err(Meaningless::Host(text.to_owned())));
    }

    #[test]
    fn the_known_hosts_are_hosts() {
        for host in ENTRA_HOSTS.into_iter().chain(AZURE_DEV_OPS_HOSTS) {
            assert_eq!(parse_host(host).as_deref(), Ok(host));
        }
    }
}
