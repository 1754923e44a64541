//! A client that the authorization server knows.

use behalf_contract::DocumentUrl;

use super::redirect_uri;

/// A client that the authorization server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client id, as the client sends it.
    pub id: String,

    /// The name that the client registered, or that the administrator configured. It is untrusted text.
    pub name: Option<String>,

    /// The redirect URIs that may receive codes.
    pub redirect_uris: Vec<String>,

    /// The way it became known to the server.
    pub kind: ClientKind,
}

/// The way in which a client became known to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// The administrator listed it in `spec.clients.static`.
    Static,

    /// It registered itself (RFC 7591).
    Registered,

    /// Its id is the address of a document that describes it.
    Document,
}

impl Client {
    /// True when `redirect_uri` may receive a code.
    pub fn may_redirect_to(&self, redirect_uri: &str) -> bool {
        self.redirect_uris
            .iter()
            .any(|registered| redirect_uri::matches(registered, redirect_uri))
    }

    /// Returns the host of the document that describes the client.
    pub(crate) fn document_host(&self) -> Option<String> {
        let url = DocumentUrl::parse(&self.id).filter(|_| self.kind == ClientKind::Document)?;
        Some(url.host().to_owned())
    }
}
