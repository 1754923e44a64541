//! The installation policy: the hosts and images that objects may name. An administrator sets it when the operator is installed;
//! users who may write objects cannot change it. See `docs/adr/0008-installation-policy.md`.

use std::collections::BTreeMap;

use behalf_contract::{DocumentUrl, is_guid, is_inside_cluster};
use serde::Deserialize;
use url::{Host, Url};

/// The authorities of Entra: public, US Government and China.
/// <https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>
pub const ENTRA_HOSTS: [&str; 3] = [
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
];

/// The hosts of Azure DevOps Services: projects and pipelines, classic releases, identities.
pub const AZURE_DEV_OPS_HOSTS: [&str; 3] = ["dev.azure.com", "vsrm.dev.azure.com", "vssps.dev.azure.com"];

/// The hosts and applications that objects may name. They decide where tokens are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Hosts of `entra.authority`: `host`, or `host:port` where the port is not 443.
    pub entra_hosts: Vec<String>,

    /// Hosts of `server.azureDevOps.endpoints`, written in the same way.
    pub azure_dev_ops_hosts: Vec<String>,

    /// Hosts of https redirect URIs that objects may name in addition to the known vendors' callbacks, written in the same way.
    pub redirect_hosts: Vec<String>,

    /// Hosts of metadata documents for which the proxy is asked by name: names alone, because documents have port 443.
    pub document_hosts: Vec<String>,

    /// Registry paths of the images of `server.container`: `registry.contoso.example/mcp` allows each repository below
    /// it. If it is empty, no object may have such a container.
    pub server_repositories: Vec<String>,

    /// Which namespaces may use which addresses and applications.
    pub namespaces: Namespaces,
}

impl Allowed {
    /// Returns whether an object may run an image of this repository.
    pub fn server_image(&self, repository: &str) -> bool {
        self.server_repositories.iter().any(|allowed| {
            repository
                .strip_prefix(allowed.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Returns whether an object may name this address as that of Entra.
    pub fn entra(&self, url: &Url) -> bool {
        lists(&self.entra_hosts, url)
    }

    /// Returns whether an object may name this address as that of Azure DevOps.
    pub fn azure_dev_ops(&self, url: &Url) -> bool {
        lists(&self.azure_dev_ops_hosts, url)
    }

    /// Returns whether authorization codes may be sent to this https address.
    pub fn redirect(&self, url: &Url) -> bool {
        lists(&self.redirect_hosts, url)
    }
}

/// The hosts and applications that the installation reserves for namespaces. A namespace that has a list may use only the
/// entries of its list. Another namespace may use the values that are in no list. A host in a list is reserved with each of its ports, because
/// cookies do not distinguish ports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Namespaces(BTreeMap<String, Reserved>);

/// The values that are reserved for one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Reserved {
    /// Hosts of `publicUrl`: `host`, or `host:port` where the port is not the default.
    public_url_hosts: Vec<String>,

    /// Ids of applications, in lower case.
    client_ids: Vec<String>,
}

impl Namespaces {
    /// Returns whether objects of a namespace may have this `publicUrl`.
    pub fn allow_public_url(&self, namespace: &str, url: &Url) -> bool {
        if let Some(own) = self.0.get(namespace)
            && !own.public_url_hosts.is_empty()
        {
            return own.public_url_hosts.contains(&address(url));
        }
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        let mut reserved = self.0.values().flat_map(|reserved| &reserved.public_url_hosts);
        !reserved.any(|entry| entry.split(':').next() == Some(host))
    }

    /// Returns whether objects of a namespace may have this `entra.clientId`, which is in lower case.
    pub fn allow_client_id(&self, namespace: &str, client_id: &str) -> bool {
        let contains = |reserved: &Reserved| reserved.client_ids.iter().any(|entry| entry == client_id);
        match self.0.get(namespace).filter(|own| !own.client_ids.is_empty()) {
            Some(own) => contains(own),
            None => !self.0.values().any(contains),
        }
    }
}

/// Returns host and port of an origin, as lists of `publicUrl` hosts name them.
pub fn address(url: &Url) -> String {
    let origin = url.origin().ascii_serialization();
    origin
        .split_once("://")
        .map_or_else(String::new, |(_, address)| address.to_owned())
}

/// Reads the JSON object that maps namespaces to the values that are reserved for them.
pub fn parse_namespaces(text: &str) -> Result<Namespaces, PolicyEntryError> {
    let mut namespaces: Namespaces =
        serde_json::from_str(text).map_err(|error| PolicyEntryError::Namespaces(error.to_string()))?;
    for reserved in namespaces.0.values_mut() {
        for host in &reserved.public_url_hosts {
            parse_host(host)?;
        }
        for id in &mut reserved.client_ids {
            if !is_guid(id) {
                return Err(PolicyEntryError::ClientId(id.clone()));
            }
            id.make_ascii_lowercase();
        }
    }
    Ok(namespaces)
}

fn lists(hosts: &[String], url: &Url) -> bool {
    host(url).is_some_and(|host| hosts.contains(&host))
}

/// Returns the host of an https address as lists name it.
pub fn host(url: &Url) -> Option<String> {
    let origin = url.origin().ascii_serialization();
    origin.strip_prefix("https://").map(str::to_owned)
}

/// Why an entry of a list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyEntryError {
    /// It is no host, so that it would match no address.
    #[error(
        "{0:?} is no host: write <host> or <host>:<port> in lower case, without scheme, path or port 443"
    )]
    Host(String),

    /// No document can have such an address.
    #[error(
        "{0:?} is no host of metadata documents that the proxy is asked for: write <host>, a name outside of the cluster with a \
         dot, in lower case, without scheme, path, port or *"
    )]
    DocumentHost(String),

    /// It is no path in a registry, so that it would match no image.
    #[error(
        "{0:?} is no path in a registry: write <registry>/<path> in lower case, without tag or final slash, for example \
         registry.contoso.example/mcp"
    )]
    Repository(String),

    /// The JSON of the namespaces cannot be read.
    #[error(
        r#"is not the JSON object {{"<namespace>": {{"publicUrlHosts": ["<host>"], "clientIds": ["<GUID>"]}}}}: {0}"#
    )]
    Namespaces(String),

    /// It is no id of an application.
    #[error("{0:?} is no client id: write the GUID of the application")]
    ClientId(String),
}

/// Reads an entry of a list of hosts.
pub fn parse_host(text: &str) -> Result<String, PolicyEntryError> {
    let origin = format!("https://{text}");
    // The URL standard accepts a wildcard as a host, but no host has this name.
    match Url::parse(&origin) {
        Ok(url) if url.origin().ascii_serialization() == origin && !text.contains('*') => Ok(text.to_owned()),
        _ => Err(PolicyEntryError::Host(text.to_owned())),
    }
}

/// Reads an entry of the list of hosts of metadata documents.
pub fn parse_document_host(text: &str) -> Result<String, PolicyEntryError> {
    let document = DocumentUrl::parse(&format!("https://{text}/document"));
    match document {
        Some(url)
            if url.host() == text
                && !text.contains('*')
                // The proxy is never asked for these.
                && !is_inside_cluster(&Host::Domain(text)) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(PolicyEntryError::DocumentHost(text.to_owned())),
    }
}

/// Reads an entry of a list of registry paths.
pub fn parse_repository(text: &str) -> Result<String, PolicyEntryError> {
    if is_repository_path(text) {
        Ok(text.to_owned())
    } else {
        Err(PolicyEntryError::Repository(text.to_owned()))
    }
}

/// Returns whether a text is `<registry>/<path>`, as a container runtime reads it. A first part without dot and port is
/// no registry but a name at Docker Hub, unless it is `localhost`.
pub fn is_repository_path(text: &str) -> bool {
    let Some((registry, path)) = text.split_once('/') else {
        return false;
    };
    let is_registry = parse_host(registry).is_ok() || registry.ends_with(":443");
    let names_registry = registry.contains(['.', ':']) || registry == "localhost";
    let segment = |segment: &str| {
        let edge =
            |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        edge(segment.bytes().next())
            && edge(segment.bytes().last())
            && !segment.contains("..")
            && segment
                .bytes()
                .all(|byte| edge(Some(byte)) || b"._-".contains(&byte))
    };
    is_registry && names_registry && path.split('/').all(segment)
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
            document_hosts: Vec::new(),
            server_repositories: vec!["ghcr.io/contoso".to_owned(), "localhost:5000/mcp".to_owned()],
            namespaces: Namespaces::default(),
        }
    }

    #[rstest]
    #[case("ghcr.io/contoso", true)]
    #[case("ghcr.io/contoso/mcp/server", true)]
    #[case("localhost:5000/mcp", true)]
    #[case::a_longer_name("ghcr.io/contoso-evil/server", false)]
    #[case::above("ghcr.io", false)]
    #[case::another_registry("evil.example/ghcr.io/contoso", false)]
    #[case::another_port("localhost/mcp", false)]
    fn a_path_of_a_registry_allows_the_repositories_below_it(
        #[case] repository: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(allowed().server_image(repository), expected);
    }

    #[rstest]
    #[case::a_registry_alone("ghcr.io")]
    #[case::docker_hub("contoso/server")]
    #[case::a_final_slash("ghcr.io/contoso/")]
    #[case::a_tag("ghcr.io/contoso/server:1")]
    #[case::a_wildcard("ghcr.io/*")]
    #[case::upward("ghcr.io/contoso/../evil")]
    #[case::upper_case("ghcr.io/Contoso")]
    #[case::a_scheme("https://ghcr.io/contoso")]
    #[case::nothing("")]
    fn an_entry_that_no_image_matches_is_no_path(#[case] text: &str) {
        assert_eq!(
            parse_repository(text),
            Err(PolicyEntryError::Repository(text.to_owned()))
        );
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
        assert_eq!(parse_host(text), Err(PolicyEntryError::Host(text.to_owned())));
    }

    #[rstest]
    #[case("https://vscode.dev")]
    #[case("vscode.dev:443")]
    #[case("vscode.dev:8443")]
    #[case("vscode.dev.")]
    #[case("vscode.dev/oauth")]
    #[case("user@vscode.dev")]
    #[case("VSCode.dev")]
    #[case("*.vscode.dev")]
    #[case("10.0.0.1")]
    #[case("[fd00::7]")]
    #[case("intranet")]
    #[case("documents.mcp.svc")]
    #[case("documents.mcp.svc.cluster.local")]
    #[case("a.localhost")]
    #[case("")]
    fn an_entry_that_no_document_has_as_its_host_is_refused(#[case] text: &str) {
        let refused = Err(PolicyEntryError::DocumentHost(text.to_owned()));
        assert_eq!(parse_document_host(text), refused);
        assert_eq!(parse_document_host("vscode.dev").as_deref(), Ok("vscode.dev"));
    }

    #[test]
    fn the_known_hosts_are_hosts() {
        for host in ENTRA_HOSTS.into_iter().chain(AZURE_DEV_OPS_HOSTS) {
            assert_eq!(parse_host(host).as_deref(), Ok(host));
        }
    }

    const SHOP: &str = r#"{
        "shop": {"publicUrlHosts": ["shop.contoso.example", "localhost:8597"]},
        "bank": {"publicUrlHosts": ["bank.contoso.example"], "clientIds": ["2222222A-2222-4222-8222-222222222222"]}
    }"#;

    #[rstest]
    #[case::its_own("shop", "https://shop.contoso.example", true)]
    #[case::its_own_with_a_port("shop", "http://localhost:8597", true)]
    #[case::another_port("shop", "https://shop.contoso.example:8443", false)]
    #[case::of_no_list("shop", "https://mcp.contoso.example", false)]
    #[case::of_another_namespace("shop", "https://bank.contoso.example", false)]
    #[case::reserved_for_another("other", "https://bank.contoso.example", false)]
    #[case::reserved_for_another_with_each_port("other", "https://bank.contoso.example:8443", false)]
    #[case::reserved_for_another_with_a_final_dot("other", "https://bank.contoso.example.", false)]
    #[case::reserved_for_nobody("other", "https://mcp.contoso.example", true)]
    fn a_host_that_is_reserved_for_a_namespace_is_for_that_namespace_alone(
        #[case] namespace: &str,
        #[case] url: &str,
        #[case] expected: bool,
    ) {
        let namespaces = parse_namespaces(SHOP).unwrap();
        assert_eq!(
            namespaces.allow_public_url(namespace, &Url::parse(url).unwrap()),
            expected
        );
    }

    #[rstest]
    #[case::its_own("bank", "2222222a-2222-4222-8222-222222222222", true)]
    #[case::another("bank", "33333333-2222-4222-8222-222222222222", false)]
    #[case::reserved_for_another("shop", "2222222a-2222-4222-8222-222222222222", false)]
    #[case::reserved_for_nobody("shop", "33333333-2222-4222-8222-222222222222", true)]
    fn an_application_that_is_reserved_for_a_namespace_is_for_that_namespace_alone(
        #[case] namespace: &str,
        #[case] client_id: &str,
        #[case] expected: bool,
    ) {
        let namespaces = parse_namespaces(SHOP).unwrap();
        assert_eq!(namespaces.allow_client_id(namespace, client_id), expected);
    }

    #[rstest]
    #[case::no_json("shop")]
    #[case::no_object(r#"["shop"]"#)]
    #[case::a_typing_error(r#"{"shop": {"publicUrlHost": ["shop.contoso.example"]}}"#)]
    #[case::an_address(r#"{"shop": {"publicUrlHosts": ["https://shop.contoso.example"]}}"#)]
    #[case::a_name(r#"{"shop": {"clientIds": ["shop"]}}"#)]
    fn namespaces_that_would_reserve_nothing_are_refused(#[case] text: &str) {
        assert!(parse_namespaces(text).is_err());
    }
}
