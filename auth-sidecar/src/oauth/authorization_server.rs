//! The state that the endpoints share.

use std::sync::Arc;

use behalf_contract::{ServerKind, SidecarConfig};
use behalf_entra::{Clock, EntraClient, TokenRules, TokenValidator, sign_in_scope};

use crate::access::AccessPolicy;
use crate::access::challenge::Challenger;
use crate::clients::Clients;
use crate::http::client_address::TrustedProxies;
use crate::http::public_url::Addresses;
use crate::keys::{KeyringHandle, Random};
use crate::limits::body_budget::BodyMemory;
use crate::observe::ProbeTrigger;
use crate::observe::sign_ins::SignIns;
use crate::sessions::Sessions;
use crate::telemetry::metrics::Metrics;

/// Everything the endpoints need.
pub struct AuthorizationServer {
    pub(super) addresses: Addresses,
    pub(super) access: AccessPolicy,
    pub(super) kind: ServerKind,
    challenger: Challenger,
    pub(super) keyring: Arc<KeyringHandle>,
    pub(super) clients: Arc<Clients>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) entra: EntraClient,
    pub(super) validator: TokenValidator,
    pub(super) entra_scope: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) federation_trigger: ProbeTrigger,
    pub(super) sign_ins: Arc<SignIns>,
    pub(super) trusted_proxies: TrustedProxies,
    body_memory: BodyMemory,
}

/// What an [`AuthorizationServer`] is made of beside its configuration.
#[derive(Clone)]
pub struct ServerParts {
    /// Seals and opens.
    pub keyring: Arc<KeyringHandle>,

    /// The clients that may ask.
    pub clients: Arc<Clients>,

    /// What a login ends in; shared with the proxy.
    pub sessions: Arc<Sessions>,

    /// Signs users in.
    pub entra: EntraClient,

    /// The time.
    pub clock: Arc<dyn Clock>,

    /// Randomness.
    pub random: Arc<dyn Random>,
}

impl AuthorizationServer {
    /// The server that `config` describes.
    pub fn new(config: &SidecarConfig, parts: ServerParts) -> Self {
        let ServerParts {
            keyring,
            clients,
            sessions,
            entra,
            clock,
            random,
        } = parts;
        let addresses = Addresses::new(&config.public_url);
        let access = AccessPolicy::new(&config.access);
        let challenger = Challenger::new(&addresses, access.offered());
        let entra_scope = sign_in_scope(&config.entra.scope);
        let rules = TokenRules {
            required_scope: config.entra.required_scope().to_owned(),
            ..TokenRules::default()
        };
        let validator = TokenValidator::new(entra.clone(), rules);
        let exchanges = config.token_exchange.in_sidecar();
        let sign_ins = Arc::new(SignIns::new(Arc::clone(&clock), exchanges));
        Self {
            addresses,
            access,
            kind: config.access.server.clone(),
            challenger,
            keyring,
            clients,
            sessions,
            entra,
            validator,
            entra_scope,
            clock,
            random,
            metrics: Arc::default(),
            federation_trigger: ProbeTrigger::default(),
            sign_ins,
            trusted_proxies: TrustedProxies::new(&config.trusted_proxies),
            body_memory: BodyMemory::default(),
        }
    }

    /// Counts in `metrics`, and wakes `federation_trigger` when Entra does not take this process as the
    /// application.
    #[must_use]
    pub fn observed_by(self, metrics: Arc<Metrics>, federation_trigger: ProbeTrigger) -> Self {
        Self {
            metrics,
            federation_trigger,
            ..self
        }
    }

    /// The public addresses.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The scopes of this server, and the scopes that each tool needs.
    pub fn access(&self) -> &AccessPolicy {
        &self.access
    }

    /// Writes `WWW-Authenticate`.
    pub(crate) fn challenger(&self) -> &Challenger {
        &self.challenger
    }

    /// What users' sign-ins tell of the application; exchanges of their tokens count, too.
    pub fn sign_ins(&self) -> &Arc<SignIns> {
        &self.sign_ins
    }

    /// The memory for bodies at the public port, `/mcp` included.
    pub(crate) fn body_memory(&self) -> &BodyMemory {
        &self.body_memory
    }

    /// Where Entra sends the browser back to; registered on platform Web.
    pub(super) fn callback(&self) -> String {
        self.addresses.endpoint("/callback")
    }
}

impl std::fmt::Debug for AuthorizationServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AuthorizationServer")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
