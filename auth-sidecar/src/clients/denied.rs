//! The clients and hosts that the administrator denies. Pure.

use std::collections::HashSet;
use std::iter::successors;

use behalf_contract::{DocumentUrl, is_registered_client_label};
use url::Url;

use crate::client_label::registered_label;

/// The entries of `spec.clients.denied`: client ids, labels of registered clients, addresses of metadata documents, and
/// hosts. The operator refuses entries of any other form.
#[derive(Clone, Debug, Default)]
pub(super) struct Denied {
    entries: HashSet<String>,
    /// An entry is a label, so that the label of each client is computed.
    has_labels: bool,
}

impl Denied {
    pub(super) fn new(entries: &[String]) -> Self {
        Self {
            entries: entries.iter().cloned().collect(),
            has_labels: entries.iter().any(|entry| is_registered_client_label(entry)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True for a denied client id, and for the address of a document at a denied host.
    pub(super) fn client(&self, client_id: &str) -> bool {
        let by_host = || DocumentUrl::parse(client_id).is_some_and(|url| self.host(url.host()));
        let by_label = || {
            self.has_labels && registered_label(client_id).is_some_and(|label| self.entries.contains(&label))
        };
        // Most servers deny nothing, and each call asks.
        !self.is_empty() && (self.entries.contains(client_id) || by_host() || by_label())
    }

    /// True for a redirect URI at a denied host.
    pub(super) fn redirect_uri(&self, uri: &str) -> bool {
        !self.is_empty() && Url::parse(uri).is_ok_and(|url| self.redirect(&url))
    }

    /// As [`Self::redirect_uri`].
    pub(super) fn redirect(&self, url: &Url) -> bool {
        url.host_str().is_some_and(|host| self.host(host))
    }

    /// True if an entry is this host or a domain that contains it. A domain has at least two labels: the id `ci` of a
    /// static client denies no host under `.ci`.
    fn host(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut domains = successors(Some(host), |host| {
            let (_, parent) = host.split_once('.')?;
            parent.contains('.').then_some(parent)
        });
        domains.any(|domain| self.entries.contains(domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> Denied {
        Denied::new(
            &[
                "bhi1.c9.AAAA",
                "https://claude.ai/oauth/one",
                "chatgpt.com",
                "ci",
                "127.0.0.1",
            ]
            .map(str::to_owned),
        )
    }

    #[test]
    fn a_client_is_denied_by_its_id_or_by_the_host_of_its_document() {
        for id in [
            "bhi1.c9.AAAA",
            "ci",
            "https://claude.ai/oauth/one",
            "https://chatgpt.com/oauth/client.json",
            "https://a.b.chatgpt.com/oauth/client.json",
        ] {
            assert!(denied().client(id), "{id}");
        }
        for id in [
            "bhi1.c9.AAAB",
            "https://claude.ai/oauth/other",
            "https://notchatgpt.com/c",
            "https://chatgpt.com.evil.example/c",
            "https://build.ci/c",
            "CI",
            "",
        ] {
            assert!(!denied().client(id), "{id}");
        }
        assert!(!Denied::default().client("https://chatgpt.com/oauth/client.json"));
    }

    #[test]
    fn a_registered_client_is_denied_by_its_label() {
        let label = registered_label("bhi1.c9.BBBB").unwrap();
        let denied = Denied::new(&[label]);
        assert!(denied.client("bhi1.c9.BBBB"));
        assert!(!denied.client("bhi1.c9.BBBC"));
        assert!(!denied.client("ci"));
    }

    #[test]
    fn a_redirect_uri_is_denied_by_its_host_or_a_domain_that_contains_it() {
        for uri in [
            "https://chatgpt.com/connector/oauth/a",
            "https://eu.chatgpt.com/cb",
            "https://chatgpt.com./cb",
            "http://127.0.0.1:33418/",
        ] {
            assert!(denied().redirect_uri(uri), "{uri}");
        }
        for uri in [
            "https://claude.ai/api/mcp/auth_callback",
            "http://localhost/chatgpt.com",
            "https://xchatgpt.com/cb",
            "https://com/cb",
        ] {
            assert!(!denied().redirect_uri(uri), "{uri}");
        }
    }
}
