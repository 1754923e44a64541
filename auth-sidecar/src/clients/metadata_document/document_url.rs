//! Recognizes client ids that are addresses of metadata documents. Pure.

use behalf_contract::redirect_uri::parse;
use url::Host;

/// The address of a metadata document, which is the id of its client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DocumentUrl {
    text: String,
    host: String,
}

impl DocumentUrl {
    /// Returns `None` unless the text is an https address in normal form with the name of a host and a path, and
    /// without user, port, query and fragment.
    ///
    /// The draft allows ports and discourages queries. No known client has one. Without ports nobody can make this
    /// server connect to other services of a host, and without queries one document has one address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let url = parse(text).ok()?;
        let Some(Host::Domain(host)) = url.host() else {
            return None;
        };
        let is_one = url.scheme() == "https"
            && url.port().is_none()
            && url.query().is_none()
            && url.path() != "/"
            // The same host has another spelling without the dot.
            && !host.ends_with('.');
        is_one.then(|| Self {
            text: text.to_owned(),
            host: host.to_owned(),
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The name of the host, which vouches for the client.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://vscode.dev/oauth/client-metadata.json", "vscode.dev")]
    #[case("https://claude.ai/oauth/claude-code-client-metadata", "claude.ai")]
    #[case("https://xn--bcher-kva.example/c", "xn--bcher-kva.example")]
    fn the_address_of_a_document_names_its_host(#[case] text: &str, #[case] host: &str) {
        assert_eq!(DocumentUrl::parse(text).unwrap().host(), host);
    }

    #[rstest]
    #[case::no_path("https://claude.ai")]
    #[case::root("https://claude.ai/")]
    #[case::plain_http("http://claude.ai/c")]
    #[case::user("https://claude.ai@evil.example/c")]
    #[case::user_and_password("https://a:b@evil.example/c")]
    #[case::fragment("https://claude.ai/c#x")]
    #[case::query("https://claude.ai/c?x=1")]
    #[case::port("https://claude.ai:8443/c")]
    #[case::default_port("https://claude.ai:443/c")]
    #[case::dot_segment("https://claude.ai/a/../c")]
    #[case::encoded_dot_segment("https://claude.ai/a/%2e%2e/c")]
    #[case::capitals("https://Claude.ai/c")]
    #[case::dot_at_the_end("https://claude.ai./c")]
    #[case::unicode("https://bücher.example/c")]
    #[case::ipv4("https://127.0.0.1/c")]
    #[case::public_ipv4("https://93.184.215.14/c")]
    #[case::ipv4_as_a_number("https://2130706433/c")]
    #[case::ipv4_in_hexadecimal("https://0x7f.0.0.1/c")]
    #[case::short_ipv4("https://127.1/c")]
    #[case::ipv6("https://[::1]/c")]
    #[case::mapped_ipv6("https://[::ffff:127.0.0.1]/c")]
    #[case::backslash("https://claude.ai\\@evil.example/c")]
    #[case::white_space(" https://claude.ai/c")]
    #[case::line_feed("https://claude.ai/c\n")]
    #[case::other_scheme("file:///etc/passwd")]
    #[case::sealed("bhi1.c9.AAAA")]
    #[case::empty("")]
    fn other_texts_are_no_address_of_a_document(#[case] text: &str) {
        assert_eq!(DocumentUrl::parse(text), None);
    }

    #[test]
    fn an_overlong_address_is_refused() {
        let text = format!("https://claude.ai/{}", "a".repeat(512));
        assert_eq!(DocumentUrl::parse(&text), None);
    }
}
