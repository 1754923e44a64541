//! Downstream tokens that several processes share.

use crate::response::TokenSet;

/// The place where the processes that hold one user token share the downstream token of its exchange. A failure is not an
/// error: the caller then exchanges the token itself.
pub trait SharedTokens: Send + Sync + 'static {
    /// Returns the downstream token that another process saved for the same user token and scope.
    fn load(&self) -> impl Future<Output = Option<TokenSet>> + Send;

    /// Saves the downstream token for the other processes.
    fn save(&self, token: &TokenSet) -> impl Future<Output = ()> + Send;
}

/// Shares nothing: each process exchanges for itself.
#[derive(Clone, Copy, Debug)]
pub struct NotShared;

impl SharedTokens for NotShared {
    async fn load(&self) -> Option<TokenSet> {
        None
    }

    async fn save(&self, _: &TokenSet) {}
}
