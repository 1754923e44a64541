//! Reports each token request to the program, for its metrics and traces.

use tokio::time::Instant;

use crate::error::EntraError;

/// A request to Entra's token endpoint that has ended.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// `authorization_code`, `refresh_token`, `on_behalf_of` or `client_credentials`.
    pub grant: &'static str,

    /// The time at which it was sent.
    pub began: Instant,

    /// Why it brought no token.
    pub error: Option<&'a EntraError>,
}

/// Is told about token requests. It must not block.
pub trait TokenRequestObserver: Send + Sync {
    /// A request has ended. Retries are requests of their own.
    fn observe(&self, request: &TokenRequest<'_>);
}
