//! The public addresses of this server, derived from its public URL.

use behalf_contract::endpoints::{MCP, MCP_WITH_SLASH};
use url::Url;

use super::plain_url::is_plain;

/// The public addresses of this server, all derived from one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    origin: Url,
    issuer: String,
    resource: String,
}

impl Addresses {
    /// Derives the addresses from the origin of `public_url`.
    pub fn new(public_url: &Url) -> Self {
        let issuer = public_url.origin().ascii_serialization();
        let resource = format!("{issuer}{MCP}");
        Self {
            origin: public_url.clone(),
            issuer,
            resource,
        }
    }

    /// The OAuth issuer: the bare origin, without a slash. Clients compare it byte for byte (RFC 9207).
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The one resource (RFC 8707): the MCP endpoint.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The host, with the port unless it is the default of the scheme. Pages show it.
    pub fn host(&self) -> &str {
        self.issuer
            .split_once("://")
            .map_or(&*self.issuer, |(_, host)| host)
    }

    /// Returns the URL of an endpoint. `path` begins with a slash.
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// Returns the URL of the resource's metadata. The well-known part precedes the path of the resource (RFC 9728,
    /// section 3.1).
    pub fn resource_metadata(&self) -> String {
        self.endpoint("/.well-known/oauth-protected-resource/mcp")
    }

    /// True when a `resource` parameter means this server. Some clients add a slash, write the host in upper case or
    /// send only the origin. The server has one resource, so that these forms are unambiguous.
    pub fn are_meant_by(&self, resource: &str) -> bool {
        if resource.len() > 2048 {
            return false;
        }
        let Ok(url) = Url::parse(resource) else {
            return false;
        };
        url.origin() == self.origin.origin()
            && is_plain(&url)
            && matches!(url.path(), "" | "/" | MCP | MCP_WITH_SLASH)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::exact("https://mcp.contoso.example/mcp", true)]
    #[case::slash("https://mcp.contoso.example/mcp/", true)]
    #[case::origin("https://mcp.contoso.example", true)]
    #[case::origin_with_slash("https://mcp.contoso.example/", true)]
    #[case::upper_case("HTTPS://MCP.Contoso.Example/mcp", true)]
    #[case::default_port("https://mcp.contoso.example:443/mcp", true)]
    #[case::other_path("https://mcp.contoso.example/other", false)]
    #[case::longer_path("https://mcp.contoso.example/mcp/x", false)]
    #[case::path_case("https://mcp.contoso.example/MCP", false)]
    #[case::scheme("http://mcp.contoso.example/mcp", false)]
    #[case::port("https://mcp.contoso.example:8443/mcp", false)]
    #[case::host("https://mcp.contoso.example.evil.example/mcp", false)]
    #[case::user("https://x@mcp.contoso.example/mcp", false)]
    #[case::query("https://mcp.contoso.example/mcp?x=1", false)]
    #[case::fragment("https://mcp.contoso.example/mcp#x", false)]
    #[case::other_scheme("api://mcp.contoso.example/mcp", false)]
    #[case::no_uri("mcp", false)]
    fn resource_canonicalisation(#[case] resource: &str, #[case] expected: bool) {
        let addresses = Addresses::new(&Url::parse("https://mcp.contoso.example").unwrap());
        assert_eq!(addresses.are_meant_by(resource), expected);
    }

    #[test]
    fn the_issuer_has_no_slash_and_keeps_the_port() {
        let addresses = Addresses::new(&Url::parse("http://localhost:8080/").unwrap());
        assert_eq!(addresses.issuer(), "http://localhost:8080");
        assert_eq!(addresses.resource(), "http://localhost:8080/mcp");
        assert_eq!(addresses.host(), "localhost:8080");
    }
}
