//! The token that one tool call uses at Azure DevOps, wherever it comes from.

use behalf_entra::Secret;

/// Why there is no token. Holds the sentence for the model; what the sidecar must know travels beside it
/// ([`crate::hop`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

/// The right of one user to call Azure DevOps.
#[async_trait::async_trait]
pub(crate) trait UserToken: Send + Sync {
    /// The token to call with.
    async fn current(&self) -> Result<Secret, Refused>;

    /// Another token, after the service refused `current`; `claims` is the service's challenge. Asked at
    /// most once in a call.
    async fn renew(&self, claims: Option<&str>) -> Result<Secret, Refused>;

    /// The service refused the other token too.
    fn give_up(&self, claims: Option<String>) -> Refused;
}
