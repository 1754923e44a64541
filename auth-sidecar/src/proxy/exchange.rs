//! The exchange of user tokens for downstream tokens in the sidecar, and its cache.

use std::sync::Arc;

use behalf_contract::TokenExchange;
use behalf_entra::{EntraClient, OnBehalfOf};

/// Maximum size of all cached downstream tokens in bytes. It fits 18,724 tokens of 3 KiB (see the test in
/// `entra/src/obo.rs`). ADR 0058 says why not one for each session that the memory store can contain.
pub(crate) const CAPACITY: u64 = 64 * 1024 * 1024;

/// The exchange in the sidecar.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) on_behalf_of: OnBehalfOf,
    pub(super) scope: Arc<str>,
}

impl Exchange {
    /// `None` when the configuration has nothing to exchange here.
    pub(super) fn new(exchange: &TokenExchange, entra: EntraClient) -> Option<Self> {
        if !exchange.in_sidecar() {
            return None;
        }
        let scope: Arc<str> = exchange.scope.as_deref()?.into();
        Some(Self {
            on_behalf_of: OnBehalfOf::new(entra, Arc::clone(&scope), CAPACITY),
            scope,
        })
    }
}
