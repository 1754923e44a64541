//! What objects may name: the word of whoever installed the operator against that of whoever may write
//! objects. See `docs/adr/0008-the-installation-says-where-tokens-go.md`.

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
    /// Repositories of `sidecar.image`, with their registry and without tag or digest.
    pub sidecar_repositories: Vec<String>,

    /// Hosts of `entra.authority`: `host`, or `host:port` where the port is not 443.
    pub entra_hosts: Vec<String>,

    /// Hosts of `server.azureDevOps.endpoints`, written in the same way.
    pub azure_dev_ops_hosts: Vec<String>,
}

impl Allowed {
    /// Whether the image is of one of the repositories: with any tag, any digest, both or neither.
    pub fn sidecar_image(&self, image: &str) -> bool {
        self.sidecar_repositories
            .iter()
            .filter_map(|repository| image.strip_prefix(repository.as_str()))
            .any(is_version)
    }

    /// Whether Entra may be there.
    pub fn entra(&self, url: &Url) -> bool {
        lists(&self.entra_hosts, url)
    }

    /// Whether Azure DevOps may be there.
    pub fn azure_dev_ops(&self, url: &Url) -> bool {
        lists(&self.azure_dev_ops_hosts, url)
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

/// The repository of an image: without tag and digest.
pub fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        // A colon before the last slash belongs to the registry's port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// What may follow a repository: `""`, `:tag`, `@digest` or `:tag@digest`. Anything else is another
/// repository, or an image that a container runtime may read in another way than this.
fn is_version(text: &str) -> bool {
    let (tag, digest) = match text.split_once('@') {
        Some((tag, digest)) => (tag, Some(digest)),
        None => (text, None),
    };
    let is_tag = tag.is_empty()
        || tag.strip_prefix(':').is_some_and(|tag| {
            (1..=128).contains(&tag.len())
                && !tag.starts_with(['.', '-'])
                && tag
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        });
    let is_digest = digest.is_none_or(|digest| {
        digest
            .strip_prefix("sha256:")
            .is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    });
    is_tag && is_digest
}

/// Why an entry of a list means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Meaningless {
    /// It would match no address.
    #[error(
        "{0:?} is no host: write <host> or <host>:<port> in lower case, without scheme, path or port 443"
    )]
    Host(String),

    /// It would match no image.
    #[error("{0:?} is no repository: write <registry>/<path> without tag or digest")]
    Repository(String),
}

/// Reads an entry of a list of hosts.
pub fn parse_host(text: &str) -> Result<String, Meaningless> {
    let origin = format!("https://{text}");
    // A wildcard is a host to the URL standard, and none that anybody has.
    match Url::parse(&origin) {
        Ok(url) if url.origin().ascii_serialization() == origin && !text.contains('*') => Ok(text.to_owned()),
        _ => Err(Meaningless::Host(text.to_owned())),
    }
}

/// Reads an entry of the list of repositories.
pub fn parse_repository(text: &str) -> Result<String, Meaningless> {
    let graphic = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if graphic && repository(text) == text && !text.ends_with('/') {
        Ok(text.to_owned())
    } else {
        Err(Meaningless::Repository(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn allowed() -> Allowed {
        Allowed {
            sidecar_repositories: vec!["registry.contoso.example:5000/behalf/auth-sidecar".to_owned()],
            entra_hosts: vec!["login.contoso.example".to_owned(), "[fd00::7]:8443".to_owned()],
            azure_dev_ops_hosts: Vec::new(),
        }
    }

    #[rstest]
    #[case::alone("")]
    #[case::tag(":1.2.3_a-b")]
    #[case::digest(&format!("@{DIGEST}"))]
    #[case::both(&format!(":1@{DIGEST}"))]
    fn takes_every_version_of_a_repository(#[case] version: &str) {
        let image = format!("registry.contoso.example:5000/behalf/auth-sidecar{version}");
        assert!(allowed().sidecar_image(&image));
        assert_eq!(
            repository(&image),
            "registry.contoso.example:5000/behalf/auth-sidecar"
        );
    }

    #[rstest]
    #[case::longer_name("registry.contoso.example:5000/behalf/auth-sidecar-2:1")]
    #[case::below("registry.contoso.example:5000/behalf/auth-sidecar/x:1")]
    #[case::path_in_the_tag("registry.contoso.example:5000/behalf/auth-sidecar:1/x:2")]
    #[case::path_in_the_digest("registry.contoso.example:5000/behalf/auth-sidecar@evil.example/x")]
    #[case::no_tag("registry.contoso.example:5000/behalf/auth-sidecar:")]
    #[case::odd_tag("registry.contoso.example:5000/behalf/auth-sidecar:-1")]
    #[case::short_digest("registry.contoso.example:5000/behalf/auth-sidecar@sha256:00")]
    #[case::another_registry("evil.example/behalf/auth-sidecar:1")]
    #[case::in_another_path("evil.example/registry.contoso.example:5000/behalf/auth-sidecar:1")]
    #[case::without_registry("behalf/auth-sidecar:1")]
    #[case::empty("")]
    fn takes_no_image_of_another_repository(#[case] image: &str) {
        assert!(!allowed().sidecar_image(image));
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
    #[case("behalf.local/auth-sidecar:absent", "behalf.local/auth-sidecar")]
    #[case("localhost:5000/auth-sidecar", "localhost:5000/auth-sidecar")]
    #[case("auth-sidecar@sha256:00", "auth-sidecar")]
    #[case("auth-sidecar", "auth-sidecar")]
    fn a_repository_has_neither_tag_nor_digest(#[case] image: &str, #[case] expected: &str) {
        assert_eq!(repository(image), expected);
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

    #[rstest]
    #[case("ghcr.io/contoso/auth-sidecar:1")]
    #[case("ghcr.io/contoso/auth-sidecar@sha256:00")]
    #[case("ghcr.io/contoso/")]
    #[case("ghcr.io/contoso /x")]
    #[case("")]
    fn an_entry_that_no_image_matches_is_no_repository(#[case] text: &str) {
        assert_eq!(
            parse_repository(text),
            Err(Meaningless::Repository(text.to_owned()))
        );
    }

    #[test]
    fn the_known_hosts_are_hosts() {
        for host in ENTRA_HOSTS.into_iter().chain(AZURE_DEV_OPS_HOSTS) {
            assert_eq!(parse_host(host).as_deref(), Ok(host));
        }
    }
}
