//! Decides whether a client may register a redirect URI, and whether a request matches a registered one. Pure.

use behalf_contract::VendorRedirects;
pub use behalf_contract::redirect_uri::RedirectUriError;
pub(super) use behalf_contract::redirect_uri::check_static;
use behalf_contract::redirect_uri::{check_local, is_vendor, is_vendor_callback, parse};
pub(crate) use behalf_contract::redirect_uri::{is_loopback, is_relay, leads_to_local_program};
use url::Url;

use super::denied::Denied;

/// Origins of loopback redirects: the addresses of RFC 8252, section 7.3, and `localhost`, which clients use.
const LOOPBACK_ORIGINS: [&str; 3] = ["http://127.0.0.1", "http://[::1]", "http://localhost"];

/// The rules for the redirect URIs that clients register.
#[derive(Clone, Debug)]
pub(super) struct RedirectRules {
    vendors: VendorRedirects,

    /// Additional hosts, with their port unless it is 443. Any path is allowed there, except at the host of a
    /// known vendor, where only the vendor's callback is allowed.
    hosts: Vec<String>,

    denied: Denied,
}

impl RedirectRules {
    /// Creates rules that allow the known vendors' callbacks if they are enabled, and the additional hosts, but nothing
    /// at a denied host.
    pub(super) fn new(vendors: VendorRedirects, additional_hosts: &[String], denied: Denied) -> Self {
        Self {
            vendors,
            hosts: additional_hosts
                .iter()
                .map(|host| host.to_ascii_lowercase())
                .collect(),
            denied,
        }
    }

    /// Checks a redirect URI that a client registers itself.
    pub(super) fn check(&self, text: &str) -> Result<(), RedirectUriError> {
        let url = parse(text)?;
        if self.denied.redirect(&url) {
            return Err(RedirectUriError::Denied);
        }
        match url.scheme() {
            "https" if is_loopback(&url) => Ok(()),
            "https" if !self.allows_host(&url) => Err(RedirectUriError::Host),
            // An administrator who names a vendor's host does not allow its other pages.
            "https" if is_vendor(&url) && !is_vendor_callback(&url) => Err(RedirectUriError::VendorPath),
            "https" => Ok(()),
            "http" => check_local(&url),
            _ if self.vendors == VendorRedirects::Disabled => Err(RedirectUriError::Scheme),
            _ => check_local(&url),
        }
    }

    /// True when an https URL is at an allowed host.
    pub(super) fn allows_host(&self, url: &Url) -> bool {
        let vendor = self.vendors == VendorRedirects::Enabled && is_vendor(url);
        let address = match (url.host_str(), url.port()) {
            (Some(host), None) => host.to_owned(),
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (None, _) => return false,
        };
        vendor || self.hosts.contains(&address)
    }
}

/// True when both URIs are equal, or when they are the same loopback redirect and only the port differs (RFC
/// 8252, section 7.3; OAuth 2.1, section 2.3.1). `localhost` counts as loopback, because command-line clients
/// use it.
pub(super) fn matches(registered: &str, requested: &str) -> bool {
    registered == requested
        || loopback_without_port(registered)
            .is_some_and(|registered| loopback_without_port(requested) == Some(registered))
}

/// Returns the origin without its port, and the path and query. It does not parse the URI, so that no
/// normalization can turn two different URIs into equal ones.
fn loopback_without_port(text: &str) -> Option<(&str, &str)> {
    let (origin, rest) = LOOPBACK_ORIGINS
        .iter()
        .find_map(|origin| text.strip_prefix(origin).map(|rest| (*origin, rest)))?;
    let rest = match rest.strip_prefix(':') {
        Some(rest) => {
            let end = rest
                .find(|character: char| !character.is_ascii_digit())
                .unwrap_or(rest.len());
            let (port, rest) = rest.split_at_checked(end)?;
            port.parse::<u16>().ok()?;
            rest
        }
        None => rest,
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((origin, rest))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn vendors() -> RedirectRules {
        RedirectRules::new(VendorRedirects::Enabled, &[], Denied::default())
    }

    #[rstest]
    #[case::copilot_cli("http://127.0.0.1:33418/", "http://127.0.0.1:51234/", true)]
    #[case::claude_code("http://localhost/callback", "http://localhost:3118/callback", true)]
    #[case::ipv6("http://[::1]/cb", "http://[::1]:8080/cb", true)]
    #[case::port_may_be_missing("http://127.0.0.1:33418/", "http://127.0.0.1/", true)]
    #[case::equal_private(
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        true
    )]
    #[case::query_is_the_same("http://localhost/cb?a=1", "http://localhost:1/cb?a=1", true)]
    #[case::no_cross_mapping("http://127.0.0.1/callback", "http://localhost:3118/callback", false)]
    #[case::other_path(
        "http://127.0.0.1/callback",
        "http://127.0.0.1:19876/mcp/oauth/callback",
        false
    )]
    #[case::https_port("https://a.example/cb", "https://a.example:8443/cb", false)]
    #[case::longer_host("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", false)]
    #[case::user_information("http://127.0.0.1/cb", "http://127.0.0.1@evil.example/cb", false)]
    #[case::port_and_user_information("http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb", false)]
    #[case::longer_localhost("http://localhost/cb", "http://localhost.evil.example/cb", false)]
    #[case::other_query("http://localhost/cb", "http://localhost:1/cb?x=1", false)]
    #[case::fragment("http://localhost/cb", "http://localhost:1/cb#x", false)]
    #[case::no_port("http://localhost/cb", "http://localhost:/cb", false)]
    #[case::port_beyond_16_bits("http://localhost/cb", "http://localhost:65536/cb", false)]
    #[case::upper_case("http://localhost/cb", "http://LOCALHOST:1/cb", false)]
    #[case::https_loopback("https://localhost/cb", "https://localhost:1/cb", false)]
    #[case::slash_at_the_end("https://claude.ai/cb", "https://claude.ai/cb/", false)]
    #[case::prefix("http://localhost/cb", "http://localhost:1/cb2", false)]
    fn matching(#[case] registered: &str, #[case] requested: &str, #[case] expected: bool) {
        assert_eq!(matches(registered, requested), expected);
    }

    #[rstest]
    #[case::vs_code("https://vscode.dev/redirect")]
    #[case::vs_code_insiders("https://insiders.vscode.dev/redirect")]
    #[case::vs_code_loopback("http://127.0.0.1/")]
    #[case::vs_code_port("http://127.0.0.1:33418/")]
    #[case::claude("https://claude.ai/api/mcp/auth_callback")]
    #[case::claude_com("https://claude.com/api/mcp/auth_callback")]
    #[case::chatgpt("https://chatgpt.com/connector/oauth/abc")]
    #[case::chatgpt_old("https://chatgpt.com/connector_platform_oauth_redirect")]
    #[case::cursor("cursor://anysphere.cursor-mcp/oauth/callback")]
    #[case::cursor_of_old("cursor://anysphere.cursor-retrieval/oauth/callback")]
    #[case::cursor_of_old_with_a_name("cursor://anysphere.cursor-retrieval/oauth/user-azure-devops/callback")]
    #[case::copilot_studio(
        "https://global.consent.azure-apim.net/redirect/cr938-5fazure-20devops-5f43bcb8573bc3e84"
    )]
    #[case::postman("https://oauth.pstmn.io/v1/callback")]
    #[case::postman_in_the_browser("https://oauth.pstmn.io/v1/browser-callback")]
    #[case::warp("warp://mcp/oauth2callback")]
    #[case::cursor_agents("https://www.cursor.com/agents/mcp/oauth/callback")]
    #[case::cursor_loopback("http://localhost:8787/callback")]
    #[case::inspector("http://localhost:6274/oauth/callback")]
    #[case::inspector_cli("http://127.0.0.1:6276/oauth/callback")]
    #[case::ipv6("http://[::1]:1234/callback")]
    #[case::no_path("http://127.0.0.1:33418")]
    fn redirect_uris_of_known_clients_are_accepted(#[case] uri: &str) {
        assert_eq!(vendors().check(uri), Ok(()));
    }

    #[rstest]
    #[case::javascript("javascript:alert(1)", RedirectUriError::Scheme)]
    #[case::javascript_hidden("java\nscript:alert(1)", RedirectUriError::Form)]
    #[case::data("data:text/html,x", RedirectUriError::Scheme)]
    #[case::file("file:///etc/passwd", RedirectUriError::Scheme)]
    #[case::private_scheme("claude://callback", RedirectUriError::Scheme)]
    #[case::other_path_of_cursor("cursor://anysphere.cursor-mcp/other", RedirectUriError::Scheme)]
    #[case::other_server_of_cursor("cursor://evil.cursor-mcp/oauth/callback", RedirectUriError::Scheme)]
    #[case::two_names_of_cursor(
        "cursor://anysphere.cursor-retrieval/oauth/a/b/callback",
        RedirectUriError::Scheme
    )]
    #[case::no_name_of_cursor(
        "cursor://anysphere.cursor-retrieval/oauth//callback",
        RedirectUriError::Scheme
    )]
    #[case::query_of_cursor("cursor://anysphere.cursor-mcp/oauth/callback?a=1", RedirectUriError::Scheme)]
    #[case::port_of_warp("warp://mcp:1/oauth2callback", RedirectUriError::Scheme)]
    #[case::copilot_studio_without_connector(
        "https://global.consent.azure-apim.net/redirect",
        RedirectUriError::VendorPath
    )]
    #[case::encoded_slash_at_copilot_studio(
        "https://global.consent.azure-apim.net/redirect/a%2fb",
        RedirectUriError::VendorPath
    )]
    #[case::other_page_of_postman("https://oauth.pstmn.io/v1/other", RedirectUriError::VendorPath)]
    #[case::plain_http("http://claude.ai/cb", RedirectUriError::PlainHttp)]
    #[case::plain_http_lookalike("http://localhost.evil.example/cb", RedirectUriError::PlainHttp)]
    #[case::other_loopback("http://127.0.0.2/cb", RedirectUriError::PlainHttp)]
    #[case::any_address("http://0.0.0.0/cb", RedirectUriError::PlainHttp)]
    #[case::foreign_host("https://evil.example/cb", RedirectUriError::Host)]
    #[case::longer_host("https://claude.ai.evil.example/cb", RedirectUriError::Host)]
    #[case::dot_at_the_end("https://claude.ai./cb", RedirectUriError::Host)]
    #[case::subdomain("https://x.claude.ai/cb", RedirectUriError::Host)]
    #[case::other_port("https://claude.ai:8443/cb", RedirectUriError::Host)]
    #[case::other_page("https://claude.ai/share/1", RedirectUriError::VendorPath)]
    #[case::path_of_another_vendor("https://claude.ai/redirect", RedirectUriError::VendorPath)]
    #[case::host_alone("https://vscode.dev", RedirectUriError::VendorPath)]
    #[case::longer_path("https://vscode.dev/redirect/", RedirectUriError::VendorPath)]
    #[case::path_in_another_case("https://vscode.dev/Redirect", RedirectUriError::VendorPath)]
    #[case::query("https://vscode.dev/redirect?to=evil", RedirectUriError::VendorPath)]
    #[case::no_connector("https://chatgpt.com/connector/oauth/", RedirectUriError::VendorPath)]
    #[case::below_a_connector("https://chatgpt.com/connector/oauth/a/b", RedirectUriError::VendorPath)]
    #[case::hidden_dots("https://chatgpt.com/connector/oauth/..%2fg", RedirectUriError::VendorPath)]
    #[case::beside_connectors("https://chatgpt.com/connector/oauthx", RedirectUriError::VendorPath)]
    #[case::user_information("https://claude.ai@evil.example/cb", RedirectUriError::UserInformation)]
    #[case::fragment("https://claude.ai/cb#x", RedirectUriError::Fragment)]
    #[case::empty_fragment("https://claude.ai/cb#", RedirectUriError::Fragment)]
    #[case::default_port("https://claude.ai:443/cb", RedirectUriError::Form)]
    #[case::upper_case("HTTPS://CLAUDE.AI/cb", RedirectUriError::Form)]
    #[case::dot_segments("https://claude.ai/a/../cb", RedirectUriError::Form)]
    #[case::backslash("https:\\\\claude.ai\\cb", RedirectUriError::Form)]
    #[case::space(" https://claude.ai/cb", RedirectUriError::Form)]
    #[case::short_address("http://127.1/cb", RedirectUriError::Form)]
    #[case::relative("/callback", RedirectUriError::Form)]
    #[case::empty("", RedirectUriError::Form)]
    #[case::wildcard("https://*.claude.ai/cb", RedirectUriError::Host)]
    fn other_redirect_uris_are_refused(#[case] uri: &str, #[case] expected: RedirectUriError) {
        assert_eq!(vendors().check(uri), Err(expected));
    }

    #[test]
    fn additional_hosts_are_allowed_beside_the_vendors_and_may_name_a_port() {
        let hosts = ["Agents.Contoso.example", "ci.contoso.example:8443"].map(str::to_owned);
        let rules = RedirectRules::new(VendorRedirects::Enabled, &hosts, Denied::default());
        for uri in [
            "https://agents.contoso.example/cb",
            "https://agents.contoso.example/any/path?at=all",
            "https://ci.contoso.example:8443/cb",
            "https://claude.ai/api/mcp/auth_callback",
            "http://localhost:1/cb",
        ] {
            assert_eq!(rules.check(uri), Ok(()), "{uri}");
        }
        for (uri, expected) in [
            ("https://ci.contoso.example/cb", RedirectUriError::Host),
            (
                "https://claude.ai:8443/api/mcp/auth_callback",
                RedirectUriError::Host,
            ),
            ("https://claude.ai/cb", RedirectUriError::VendorPath),
        ] {
            assert_eq!(rules.check(uri), Err(expected), "{uri}");
        }
    }

    #[test]
    fn without_vendors_only_additional_hosts_and_loopback_are_allowed() {
        let rules = RedirectRules::new(
            VendorRedirects::Disabled,
            &["claude.ai".to_owned()],
            Denied::default(),
        );
        assert_eq!(rules.check("https://claude.ai/api/mcp/auth_callback"), Ok(()));
        assert_eq!(
            rules.check("https://claude.ai/share/1"),
            Err(RedirectUriError::VendorPath)
        );
        assert_eq!(
            rules.check("https://vscode.dev/redirect"),
            Err(RedirectUriError::Host)
        );
        assert_eq!(rules.check("http://127.0.0.1:1/cb"), Ok(()));
        assert_eq!(
            rules.check("cursor://anysphere.cursor-mcp/oauth/callback"),
            Err(RedirectUriError::Scheme)
        );
        let none = RedirectRules::new(VendorRedirects::Disabled, &[], Denied::default());
        assert_eq!(
            none.check("https://claude.ai/api/mcp/auth_callback"),
            Err(RedirectUriError::Host)
        );
    }

    #[test]
    fn a_denied_host_is_refused_even_if_it_is_a_vendors_or_an_additional_one() {
        let denied = Denied::new(&["claude.ai".to_owned(), "ci.contoso.example".to_owned()]);
        let hosts = ["ci.contoso.example".to_owned()];
        let rules = RedirectRules::new(VendorRedirects::Enabled, &hosts, denied);
        for uri in [
            "https://claude.ai/api/mcp/auth_callback",
            "https://ci.contoso.example/cb",
        ] {
            assert_eq!(rules.check(uri), Err(RedirectUriError::Denied), "{uri}");
        }
        assert_eq!(rules.check("https://claude.com/api/mcp/auth_callback"), Ok(()));
    }

    #[test]
    fn an_overlong_uri_is_refused_before_it_is_parsed() {
        let uri = format!("https://claude.ai/{}", "a".repeat(512));
        assert_eq!(vendors().check(&uri), Err(RedirectUriError::TooLong));
    }

    #[test]
    fn the_administrator_may_name_any_https_host_and_no_other_scheme() {
        assert_eq!(check_static("https://ci.contoso.example/cb"), Ok(()));
        assert_eq!(check_static("http://localhost/cb"), Ok(()));
        assert_eq!(
            check_static("http://ci.contoso.example/cb"),
            Err(RedirectUriError::PlainHttp)
        );
        assert_eq!(check_static("javascript:alert(1)"), Err(RedirectUriError::Scheme));
    }
}
