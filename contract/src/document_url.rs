//! Recognizes client ids that are addresses of metadata documents. Pure.

use url::Host;

use crate::redirect_uri::parse;

/// The address of a metadata document, which is the id of its client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DocumentUrl {
    text: String,
    host: String,
}

impl DocumentUrl {
    /// Returns `None` unless the text is an https address in normal form with the name of a host and a path, and
    /// without user, port, query and fragment.
    ///
    /// The draft allows ports and discourages queries. No known client has one. Without ports nobody can make this
    /// server connect to other services of a host, and without queries one document has one address.
    pub fn parse(text: &str) -> Option<Self> {
        let url = parse(text).ok()?;
        let Some(Host::Domain(host)) = url.host() else {
            return None;
        };
        let is_one = url.scheme() == "https"
            && url.port().is_none()
            && url.query().is_none()
            && url.path() != "/"
            // A final dot is another spelling of the host.
            && !host.ends_with('.');
        is_one.then(|| Self {
            text: text.to_owned(),
            host: host.to_owned(),
        })
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name of the host, which vouches for the client.
    pub fn host(&self) -> &str {
        &self.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_document_names_its_host() {
        for (text, host) in [
            ("https://vscode.dev/oauth/client-metadata.json", "vscode.dev"),
            ("https://claude.ai/oauth/claude-code-client-metadata", "claude.ai"),
            ("https://xn--bcher-kva.example/c", "xn--bcher-kva.example"),
        ] {
            assert_eq!(DocumentUrl::parse(text).unwrap().host(), host);
        }
    }

    #[test]
    fn other_texts_are_no_address_of_a_document() {
        for (what, text) in [
            ("no path", "https://claude.ai"),
            ("root", "https://claude.ai/"),
            ("plain http", "http://claude.ai/c"),
            ("user", "https://claude.ai@evil.example/c"),
            ("user and password", "https://a:b@evil.example/c"),
            ("fragment", "https://claude.ai/c#x"),
            ("query", "https://claude.ai/c?x=1"),
            ("port", "https://claude.ai:8443/c"),
            ("default port", "https://claude.ai:443/c"),
            ("dot segment", "https://claude.ai/a/../c"),
            ("encoded dot segment", "https://claude.ai/a/%2e%2e/c"),
            ("capitals", "https://Claude.ai/c"),
            ("dot at the end", "https://claude.ai./c"),
            ("unicode", "https://bücher.example/c"),
            ("IPv4", "https://127.0.0.1/c"),
            ("public IPv4", "https://93.184.215.14/c"),
            ("IPv4 as a number", "https://2130706433/c"),
            ("IPv4 in hexadecimal", "https://0x7f.0.0.1/c"),
            ("short IPv4", "https://127.1/c"),
            ("IPv6", "https://[::1]/c"),
            ("mapped IPv6", "https://[::ffff:127.0.0.1]/c"),
            ("backslash", "https://claude.ai\\@evil.example/c"),
            ("white space", " https://claude.ai/c"),
            ("line feed", "https://claude.ai/c\n"),
            ("other scheme", "file:///etc/passwd"),
            ("sealed", "bhi1.c9.AAAA"),
            ("empty", ""),
        ] {
            assert_eq!(DocumentUrl::parse(text), None, "{what}");
        }
        let overlong = format!("https://claude.ai/{}", "a".repeat(512));
        assert_eq!(DocumentUrl::parse(&overlong), None);
    }
}
