//! The clients that may ask for a user: registered and static clients, and their redirect URIs.

mod rate_limit;
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

use self::rate_limit::RegistrationLimit;
use self::redirect_uri::RedirectRules;
use crate::keys::{KeyringHandle, OpenError, Purpose};

/// A client that the authorization server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client id, as the client sends it.
    pub id: String,

    /// What the client, or the administrator for it, calls it. Untrusted text.
    pub name: Option<String>,

    /// Where codes may go.
    pub redirect_uris: Vec<String>,

    /// How it became known.
    pub kind: ClientKind,
}

/// How a client became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// By the administrator.
    Static,

    /// By itself.
    Registered,
}

impl Client {
    /// True when a code may go to `redirect_uri`.
    pub fn may_redirect_to(&self, redirect_uri: &str) -> bool {
        self.redirect_uris
            .iter()
            .any(|registered| redirect_uri::matches(registered, redirect_uri))
    }
}

/// Why a client id is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Neither static nor sealed here.
    #[error("the client is not registered here; remove its saved client id so that it registers again")]
    Unknown,

    /// Sealed under a key that a running rotation has not brought here yet.
    #[error("the client cannot be looked up at the moment")]
    Unavailable,
}

/// A static client that cannot work. The administrator has to correct `spec.clients.static`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("redirect URI {uri:?} of the static client {client_id:?} {reason}")]
pub struct StaticClientError {
    /// Which client.
    pub client_id: String,

    /// Which redirect URI.
    pub uri: String,

    /// What is wrong with it.
    pub reason: RedirectUriError,
}

/// The registration of a client, sealed in its id.
#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,

    #[serde(rename = "u")]
    redirect_uris: Vec<String>,

    #[serde(rename = "t")]
    issued_at: Timestamp,
}

/// Every client of this server.
///
/// Ids of registered clients are sealed and hold the whole registration, so that nothing is stored, and
/// clients that keep an id for years keep one that works.
pub struct Clients {
    keyring: Arc<KeyringHandle>,
    clock: Arc<dyn Clock>,
    fixed: Vec<Client>,
    dynamic_registration: DynamicRegistration,
    redirects: RedirectRules,
    registrations: RegistrationLimit,
}

impl Clients {
    /// The clients that `config` allows.
    pub fn new(
        config: &ClientsConfig,
        keyring: Arc<KeyringHandle>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StaticClientError> {
        let mut fixed = Vec::with_capacity(config.r#static.len());
        for client in &config.r#static {
            for uri in &client.redirect_uris {
                redirect_uri::check_static(uri).map_err(|reason| StaticClientError {
                    client_id: client.client_id.clone(),
                    uri: uri.clone(),
                    reason,
                })?;
            }
            fixed.push(Client {
                id: client.client_id.clone(),
                name: Some(client.display_name.clone()),
                redirect_uris: client.redirect_uris.clone(),
                kind: ClientKind::Static,
            });
        }
        let registrations = RegistrationLimit::new(clock.now());
        Ok(Self {
            keyring,
            clock,
            fixed,
            dynamic_registration: config.dynamic_registration,
            redirects: RedirectRules::new(config.vendor_redirects, &config.additional_redirect_hosts),
            registrations,
        })
    }

    /// True when clients may register themselves.
    pub fn may_register(&self) -> bool {
        self.dynamic_registration == DynamicRegistration::Enabled
    }

    /// True for an https origin at a host that redirect URIs may name.
    pub(crate) fn trusts_host_of(&self, url: &Url) -> bool {
        self.redirects.allows_host(url)
    }

    /// Looks a client up.
    pub fn find(&self, client_id: &str) -> Result<Client, ClientError> {
        if let Some(client) = self.fixed.iter().find(|client| client.id == client_id) {
            return Ok(client.clone());
        }
        let sealed: Sealed = self
            .keyring
            .open(Purpose::Client, client_id)
            .map_err(|error| match error {
                OpenError::UnknownKey {
                    rotation_pending: true,
                } => ClientError::Unavailable,
                OpenError::UnknownKey { .. } | OpenError::Malformed | OpenError::Seal => ClientError::Unknown,
            })?;
        // Registered when other hosts were allowed: what is not allowed now gets no code any more.
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
            .field("static", &self.fixed)
            .finish_non_exhaustive()
    }
}
