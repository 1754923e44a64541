//! The OAuth clients of this server, registered and static, and their redirect URIs.

mod redirect_uri;
mod registration;

use std::sync::Arc;

use behalf_contract::{ClientsConfig, DynamicRegistration};
use behalf_entra::Clock;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

pub use redirect_uri::RedirectUriError;
pub(crate) use redirect_uri::{is_loopback, is_relay};
pub use registration::{Registered, RegistrationError, RegistrationRequest};

use self::redirect_uri::RedirectRules;
use crate::keys::{KeyringHandle, OpenError, Purpose};
use crate::limits::address_budget::AddressBudgets;

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
}

impl Client {
    /// True when `redirect_uri` may receive a code.
    pub fn may_redirect_to(&self, redirect_uri: &str) -> bool {
        self.redirect_uris
            .iter()
            .any(|registered| redirect_uri::matches(registered, redirect_uri))
    }
}

/// Why a client id is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// It is neither static nor sealed by this server.
    #[error("the client is not registered here; remove its saved client id so that it registers again")]
    Unknown,

    /// The keyring file of this Pod does not contain its key yet. A key rotation is in progress.
    #[error("the client cannot be looked up at the moment")]
    Unavailable,
}

/// A static client with a redirect URI that cannot work. The administrator must correct `spec.clients.static`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("redirect URI {uri:?} of the static client {client_id:?} {reason}")]
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
/// stays valid without a time limit.
pub struct Clients {
    keyring: Arc<KeyringHandle>,
    clock: Arc<dyn Clock>,
    configured: Vec<Client>,
    dynamic_registration: DynamicRegistration,
    redirects: RedirectRules,
    registrations: AddressBudgets,
}

impl Clients {
    /// Creates the clients that `config` allows.
    pub fn new(
        config: &ClientsConfig,
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
        let registrations = AddressBudgets::of_registrations(clock.now());
        Ok(Self {
            keyring,
            clock,
            configured,
            dynamic_registration: config.dynamic_registration,
            redirects: RedirectRules::new(config.vendor_redirects, &config.additional_redirect_hosts),
            registrations,
        })
    }

    /// True when clients may register themselves.
    pub fn may_register(&self) -> bool {
        self.dynamic_registration == DynamicRegistration::Enabled
    }

    /// True for an https URL at a host that redirect URIs may have.
    pub(crate) fn trusts_host_of(&self, url: &Url) -> bool {
        self.redirects.allows_host(url)
    }

    /// Returns the client with this id.
    pub fn find(&self, client_id: &str) -> Result<Client, ClientError> {
        if let Some(client) = self.configured.iter().find(|client| client.id == client_id) {
            return Ok(client.clone());
        }
        let sealed: SealedRegistration =
            self.keyring
                .open(Purpose::Client, client_id)
                .map_err(|error| match error {
                    OpenError::UnknownKey {
                        rotation_pending: true,
                    } => ClientError::Unavailable,
                    OpenError::UnknownKey { .. } | OpenError::Malformed | OpenError::Seal => {
                        ClientError::Unknown
                    }
                })?;
        // The client may have registered when other hosts were allowed. Only URIs that are allowed now get codes.
        let mut redirect_uris = sealed.redirect_uris;
        redirect_uris.retain(|uri| self.redirects.check(uri).is_ok());
        Ok(Client {
            id: client_id.to_owned(),
            name: sealed.name,
            redirect_uris,
            kind: ClientKind::Registered,
        })
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
