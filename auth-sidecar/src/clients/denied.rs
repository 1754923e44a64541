//! The clients and hosts that the administrator denies. Pure.

use std::collections::HashSet;

use url::Url;

use super::metadata_document::DocumentUrl;

/// The entries of `spec.clients.denied`: client ids, addresses of metadata documents, and hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Denied(HashSet<String>);

impl Denied {
    pub(super) fn new(entries: &[String]) -> Self {
        // Hosts are in lower case wherever they are compared. A deny list must not miss one for its spelling.
        let forms = entries
            .iter()
            .flat_map(|entry| [entry.clone(), entry.to_ascii_lowercase()]);
        Self(forms.collect())
    }

    /// True for a denied client id, and for the address of a document at a denied host.
    pub(super) fn client(&self, client_id: &str) -> bool {
        let by_host = || DocumentUrl::parse(client_id).is_some_and(|url| self.0.contains(url.host()));
        // Most servers deny nothing, and each call asks.
        !self.0.is_empty() && (self.0.contains(client_id) || by_host())
    }

    /// True for a redirect URI at a denied host.
    pub(super) fn redirect(&self, url: &Url) -> bool {
        url.host_str().is_some_and(|host| self.0.contains(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> Denied {
        Denied::new(&["bhi1.c9.AAAA", "https://claude.ai/oauth/one", "ChatGPT.com"].map(str::to_owned))
    }

    #[test]
    fn a_client_is_denied_by_its_id_or_by_the_host_of_its_document() {
        for id in [
            "bhi1.c9.AAAA",
            "https://claude.ai/oauth/one",
            "https://chatgpt.com/oauth/client.json",
        ] {
            assert!(denied().client(id), "{id}");
        }
        for id in [
            "bhi1.c9.AAAB",
            "https://claude.ai/oauth/other",
            "https://other.chatgpt.com/c",
            "ci",
            "",
        ] {
            assert!(!denied().client(id), "{id}");
        }
        assert!(!Denied::default().client("https://chatgpt.com/oauth/client.json"));
    }

    #[test]
    fn a_redirect_uri_is_denied_by_its_host() {
        let is_denied = |uri: &str| denied().redirect(&Url::parse(uri).unwrap());
        assert!(is_denied("https://chatgpt.com/connector/oauth/a"));
        assert!(!is_denied("https://claude.ai/api/mcp/auth_callback"));
        assert!(!is_denied("http://localhost/chatgpt.com"));
    }
}
