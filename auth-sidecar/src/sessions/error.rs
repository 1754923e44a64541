//! Errors of sessions, codes and refresh tokens.

use std::time::Duration;

use behalf_entra::EntraError;

use crate::keys::OpenError;
use crate::store::StoreError;

/// Why a call cannot continue with its access token. It is `Clone` because calls that wait for the same
/// renewal share its error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    /// This sidecar did not issue the access token, or its session has ended: 401 `invalid_token`.
    #[error("the access token is not valid; the client refreshes it or signs in again")]
    Invalid,

    /// Entra requires a new sign-in of the user: 401 with a challenge. The session stays. Claims that Entra requires are
    /// stored for the next login.
    #[error("Entra requires the user to sign in again")]
    SignInRequired,

    /// A new login does not help: a tool result with `isError` and this text.
    #[error("{0}")]
    Blocked(String),

    /// Entra refused the client assertion of this process: 503. A probe of the federation starts.
    #[error("Entra does not accept this server as the application")]
    ClientAuthentication(#[source] EntraError),

    /// A dependency is temporarily unavailable: 503 with `Retry-After`.
    #[error("sessions are not available at the moment")]
    Unavailable {
        /// Value of `Retry-After`, if known.
        retry_after: Option<Duration>,

        /// The missing dependency.
        #[source]
        source: Unavailable,
    },
}

/// A dependency of a session that is temporarily unavailable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unavailable {
    /// The session store does not answer or is full.
    #[error("the session store does not answer")]
    Store(#[source] StoreError),

    /// The keyring file of this Pod does not contain the key yet. A key rotation is in progress.
    #[error("the keyring does not contain the key of this token yet")]
    Keyring,

    /// Entra does not answer, or throttles.
    #[error("unable to renew the user's tokens")]
    Entra(#[source] EntraError),

    /// Each attempt to write the entry lost against another writer.
    #[error("too many requests change the session at the same time")]
    Contention,

    /// The session cannot be sealed. This is a defect of this project.
    #[error("the session cannot be sealed")]
    Sealing,
}

impl Unavailable {
    /// True if the store does not answer. The store logs its outage once, so that callers do not log each request.
    pub(crate) fn is_outage_of_store(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unreachable(_)))
    }
}

impl SessionError {
    /// As [`Unavailable::is_outage_of_store`].
    pub(crate) fn is_outage_of_store(&self) -> bool {
        matches!(self, Self::Unavailable { source, .. } if source.is_outage_of_store())
    }

    pub(super) fn unavailable(source: Unavailable) -> Self {
        let retry_after = match &source {
            Unavailable::Contention => Duration::from_secs(1),
            _ => Duration::from_secs(5),
        };
        Self::Unavailable {
            retry_after: Some(retry_after),
            source,
        }
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::unavailable(Unavailable::Store(error))
    }
}

impl From<OpenError> for SessionError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::UnknownKey {
                rotation_pending: true,
            } => Self::unavailable(Unavailable::Keyring),
            OpenError::UnknownKey { .. } | OpenError::Malformed | OpenError::Seal => Self::Invalid,
        }
    }
}

/// Why a code or refresh token was not redeemed. Each variant is a different answer to the client.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// `invalid_grant`: the client starts a new login.
    #[error("{0}")]
    Dead(DeadGrant),

    /// `invalid_scope`: the client requests a scope that the user did not grant.
    #[error("the user did not grant the requested scope")]
    Scope,

    /// A dependency is temporarily unavailable: 503 with `Retry-After`.
    #[error("the grant cannot be redeemed at the moment")]
    Unavailable(#[source] Unavailable),
}

/// Why a code or refresh token is not valid. The text goes to the client, so it says what the user can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeadGrant {
    /// This sidecar did not issue it, or it was altered.
    #[error("the grant is not valid; sign in again")]
    Unknown,

    /// Its lifetime has ended.
    #[error("the grant has expired; sign in again")]
    Expired,

    /// It was issued to another client, or for another redirect URI or resource.
    #[error("the grant was issued for another client, redirect URI or resource")]
    Binding,

    /// The PKCE verifier does not match (RFC 7636, section 4.6).
    #[error("the code verifier does not match the code challenge")]
    Verifier,

    /// It was redeemed before. The session of the first redemption has ended.
    #[error("the grant was used before, so its session has ended; sign in again")]
    Reused,

    /// Its session has expired or was revoked.
    #[error("the session has ended; sign in again")]
    Ended,

    /// An administrator revoked its session.
    #[error("an administrator ended the session; sign in again")]
    Revoked,

    /// Entra requires a new sign-in. The session stays for calls that do not need it.
    #[error("Entra requires the user to sign in again")]
    SignInRequired,

    /// A call needs a scope that a refresh cannot add; the session stays.
    #[error("a refresh cannot add the scope that the last call needs; sign in again with that scope")]
    StepUp,
}

impl From<DeadGrant> for GrantError {
    fn from(grant: DeadGrant) -> Self {
        Self::Dead(grant)
    }
}

impl From<StoreError> for GrantError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Unavailable::Store(error))
    }
}

impl From<OpenError> for GrantError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::UnknownKey {
                rotation_pending: true,
            } => Self::Unavailable(Unavailable::Keyring),
            OpenError::UnknownKey { .. } | OpenError::Malformed | OpenError::Seal => {
                Self::Dead(DeadGrant::Unknown)
            }
        }
    }
}
