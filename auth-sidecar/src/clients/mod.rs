//! The OAuth clients of this server (static, registered, described by a metadata document), and their redirect URIs.

mod client;
mod denied;
mod error;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
mod metadata;
mod metadata_document;
mod redirect_uri;
mod registration;

use std::net::IpAddr;
use std::sync::Arc;

use behalf_contract::{ClientsConfig, Consent, DocumentUrl, DynamicRegistration};
use behalf_entra::Clock;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

pub use client::{Client, ClientKind};
pub use error::ClientError;
pub(crate) use metadata_document::MetadataDocuments;
pub use metadata_document::{PublicAddresses, SystemResolver};
pub use redirect_uri::RedirectUriError;
pub(crate) use redirect_uri::{is_loopback, is_relay, leads_to_local_program};
pub use registration::{Registered, RegistrationError, RegistrationRequest};

use self::denied::Denied;
use self::redirect_uri::RedirectRules;
use crate::keys::{KeyringHandle, OpenError, Purpose};
use crate::limits::address_budget::AddressBudgets;
use crate::limits::oauth_budgets;

/// A client, as far as its id tells.
enum Known<'a> {
    /// Everything is known.
    Client(Client),

    /// The document at this address describes the client.
    Document(DocumentUrl, &'a MetadataDocuments),
}

/// A static client with a redirect URI that cannot work. The administrator must correct `spec.clients.static`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "redirect URI {uri:?} of the static client {client_id:?} {reason}; correct it in spec.clients.static"
)]
pub struct StaticClientError {
    /// Id of the client.
    pub client_id: String,

    /// The refused redirect URI.
    pub uri: String,

    /// The rule that the URI violates.
    pub reason: RedirectUriError,
}

/// The registration of a client. The client's id is this value, sealed.
#[derive(Serialize, Deserialize)]
struct SealedRegistration {
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,

    #[serde(rename = "u")]
    redirect_uris: Vec<String>,

    #[serde(rename = "t")]
    issued_at: Timestamp,
}

/// The clients of this server.
///
/// The id of a registered client contains its whole registration, sealed. The server stores nothing, and an id
/// stays valid without a time limit. The id of another client is the address of its metadata document, which is read when
/// a login begins.
pub struct Clients {
    keyring: Arc<KeyringHandle>,
    clock: Arc<dyn Clock>,
    configured: Vec<Client>,
    dynamic_registration: DynamicRegistration,
    redirects: RedirectRules,
    registrations: AddressBudgets,
    documents: Option<MetadataDocuments>,
    denied: Denied,
    consent: Consent,
}

impl Clients {
    /// Creates the clients that `config` allows. Without `documents` no metadata document is read.
    pub(crate) fn new(
        config: &ClientsConfig,
        documents: Option<MetadataDocuments>,
        keyring: Arc<KeyringHandle>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StaticClientError> {
        let mut configured = Vec::with_capacity(config.r#static.len());
        for client in &config.r#static {
            for uri in &client.redirect_uris {
                redirect_uri::check_static(uri).map_err(|reason| StaticClientError {
                    client_id: client.client_id.clone(),
                    uri: uri.clone(),
                    reason,
                })?;
            }
            configured.push(Client {
                id: client.client_id.clone(),
                name: Some(client.display_name.clone()),
                redirect_uris: client.redirect_uris.clone(),
                kind: ClientKind::Static,
            });
        }
        let registrations = oauth_budgets::registration_budgets(clock.now());
        let denied = Denied::new(&config.denied);
        let hosts = &config.additional_redirect_hosts;
        Ok(Self {
            keyring,
            clock,
            configured,
            dynamic_registration: config.dynamic_registration,
            redirects: RedirectRules::new(config.vendor_redirects, hosts, denied.clone()),
            registrations,
            documents,
            denied,
            consent: config.consent,
        })
    }

    /// True when a client may use the address of its metadata document as its id.
    pub fn reads_metadata_documents(&self) -> bool {
        self.documents.is_some()
    }

    /// True when clients may register themselves.
    pub fn may_register(&self) -> bool {
        self.dynamic_registration == DynamicRegistration::Enabled
    }

    /// True for an https URL at a host that redirect URIs may have.
    pub(crate) fn trusts_host_of(&self, url: &Url) -> bool {
        self.redirects.allows_host(url)
    }

    /// Returns the client with this id, for a login. Reads its metadata document if it has one; `caller` is the address
    /// of the browser.
    pub async fn find(&self, client_id: &str, caller: Option<IpAddr>) -> Result<Client, ClientError> {
        let (url, documents) = match self.known(client_id)? {
            Known::Client(client) => return Ok(client),
            Known::Document(url, documents) => (url, documents),
        };
        let document = documents.load(&url, caller).await?;
        Ok(Client {
            id: client_id.to_owned(),
            name: document.name.clone(),
            redirect_uris: self.allowed(document.redirect_uris.clone()),
            kind: ClientKind::Document,
        })
    }

    /// Checks that this id belongs to a client. A grant is bound to its client id and redirect URI, so that tokens need
    /// no more, and a session outlives the outage of its client's host.
    pub fn check(&self, client_id: &str) -> Result<(), ClientError> {
        self.known(client_id).map(|_| ())
    }

    /// Returns whether the configuration still allows a login that [`Self::find`] allowed minutes ago.
    pub fn still_redirects_to(&self, client_id: &str, redirect_uri: &str) -> Result<bool, ClientError> {
        Ok(match self.known(client_id)? {
            Known::Client(client) => client.may_redirect_to(redirect_uri),
            Known::Document(..) => self.redirects.check(redirect_uri).is_ok(),
        })
    }

    /// True when the administrator denies the client with this id. Each call asks, so that it reads nothing but the id.
    pub(crate) fn denies(&self, client_id: &str) -> bool {
        let by_registration = || {
            let registration = self.registration(client_id);
            registration.is_ok_and(|registration| self.denies_registration(&registration))
        };
        !self.denied.is_empty() && (self.denied.client(client_id) || by_registration())
    }

    /// True when the administrator denies the host of this redirect URI.
    pub(crate) fn denies_redirect_uri(&self, uri: &str) -> bool {
        self.denied.redirect_uri(uri)
    }

    /// True when a registration names a denied host. Such a client cannot register now.
    fn denies_registration(&self, registration: &SealedRegistration) -> bool {
        let mut uris = registration.redirect_uris.iter();
        uris.any(|uri| self.denied.redirect_uri(uri))
    }

    /// Opens the registration that the id of a registered client contains.
    fn registration(&self, client_id: &str) -> Result<SealedRegistration, ClientError> {
        let opened = self.keyring.open(Purpose::Client, client_id);
        opened.map_err(|error| match error {
            OpenError::UnknownKey {
                rotation_pending: true,
            } => ClientError::Unavailable,
            OpenError::UnknownKey { .. } | OpenError::Malformed | OpenError::Seal => ClientError::Unknown,
        })
    }

    /// True when the browser may remember that a user approved this client. Programs on the user's computer are asked
    /// for each time, because any program there can use the name and the redirect URI of any other. So are clients
    /// that register themselves, because a registration proves nothing.
    pub(crate) fn may_be_remembered(&self, client_id: &str, redirect_uri: &str) -> bool {
        let is_remote = || Url::parse(redirect_uri).is_ok_and(|url| !leads_to_local_program(&url));
        let is_known = || match self.known(client_id) {
            Ok(Known::Client(client)) => client.kind == ClientKind::Static,
            Ok(Known::Document(..)) => true,
            Err(_) => false,
        };
        self.consent == Consent::Remember && is_remote() && is_known()
    }

    fn known(&self, client_id: &str) -> Result<Known<'_>, ClientError> {
        if self.denied.client(client_id) {
            return Err(ClientError::Refused);
        }
        if let Some(client) = self.configured.iter().find(|client| client.id == client_id) {
            return Ok(Known::Client(client.clone()));
        }
        if let Some(url) = DocumentUrl::parse(client_id) {
            let documents = self.documents.as_ref().ok_or(ClientError::Unknown)?;
            documents.check(&url)?;
            return Ok(Known::Document(url, documents));
        }
        let sealed = self.registration(client_id)?;
        if self.denies_registration(&sealed) {
            return Err(ClientError::Refused);
        }
        Ok(Known::Client(Client {
            id: client_id.to_owned(),
            name: sealed.name,
            redirect_uris: self.allowed(sealed.redirect_uris),
            kind: ClientKind::Registered,
        }))
    }

    /// Returns those redirect URIs that may get codes now. A client may have registered when other hosts were allowed,
    /// and a document may list any.
    fn allowed(&self, mut redirect_uris: Vec<String>) -> Vec<String> {
        redirect_uris.retain(|uri| self.redirects.check(uri).is_ok());
        redirect_uris
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Clients")
            .field("static", &self.configured)
            .finish_non_exhaustive()
    }
}
