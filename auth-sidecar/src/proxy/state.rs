//! The state of `/mcp`.

use std::sync::Arc;

use super::entra_bearer::EntraBearers;
use super::exchange::Exchange;
use super::refused_tokens::RefusedTokens;
use super::server_session::ServerSessions;
use super::user_limits::Users;
use crate::services::Services;

/// The state of `/mcp`.
pub(super) struct ProxyState {
    pub(super) services: Arc<Services>,
    /// `None` if the server exchanges tokens itself or needs none.
    pub(super) exchange: Option<Exchange>,
    pub(super) refused_tokens: RefusedTokens,
    pub(super) server_sessions: ServerSessions,
    pub(super) users: Users,
    /// `None` if only this server's own access tokens are accepted.
    pub(super) entra_bearers: Option<EntraBearers>,
}

impl ProxyState {
    pub(super) fn new(services: Arc<Services>) -> Self {
        let exchange = Exchange::new(&services.config.token_exchange, services.entra.clone());
        let server_sessions = ServerSessions::new(services.random.as_ref());
        let now = services.clock.now();
        let entra_bearers = EntraBearers::new(&services.config, services.entra.clone(), now);
        Self {
            services,
            exchange,
            refused_tokens: RefusedTokens::default(),
            server_sessions,
            users: Users::default(),
            entra_bearers,
        }
    }
}
