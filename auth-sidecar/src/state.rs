//! The state that every public route shares.

use std::ops::Deref;
use std::sync::Arc;

use behalf_contract::SidecarConfig;

use crate::oauth::AuthorizationServer;
use crate::observe::ProbeTrigger;
use crate::proxy::Proxy;
use crate::sessions::Sessions;
use crate::telemetry::metrics::Metrics;

/// The state behind [`crate::http::router::public_router`]; cloning it counts a reference.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The parts of [`AppState`].
pub struct Parts {
    /// What the operator wrote.
    pub config: Arc<SidecarConfig>,

    /// Sessions of signed-in users; the authorization server makes them.
    pub sessions: Arc<Sessions>,

    /// The authorization server.
    pub server: Arc<AuthorizationServer>,

    /// The way to the MCP server.
    pub proxy: Proxy,

    /// Counts.
    pub metrics: Arc<Metrics>,

    /// Wake it after a client-authentication error of Entra.
    pub federation_trigger: ProbeTrigger,
}

impl AppState {
    /// Shares `parts`.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
