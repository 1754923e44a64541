//! Why a session or a grant cannot be used.

use std::time::Duration;

use behalf_entra::EntraError;

use crate::keys::OpenError;
use crate::store::StoreError;

/// Why a call cannot continue with its session key. It is `Clone` because calls that wait for the same
/// renewal share its error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    /// Not one of our session keys, or its session is over: 401 `invalid_token`.
    #[error("the session key is not valid; the client refreshes it or signs in again")]
    Invalid,

    /// Entra wants the user: 401 with a challenge. The session stays.
    #[error("Entra wants the user to sign in again")]
    SignInRequired {
        /// Kept for the next login already; here for the log's sake only.
        claims: Option<String>,
    },

    /// No login cures it: a tool result with `isError` that says this sentence.
    #[error("{0}")]
    Blocked(String),

    /// Entra does not take this process as the application: 503, and the federation is probed.
    #[error("Entra does not accept this server as the application")]
    ClientAuthentication(#[source] EntraError),

    /// It passes: 503 with `Retry-After`.
    #[error("sessions are not available at the moment")]
    Unavailable {
        /// How long to wait, when it is known.
        retry_after: Option<Duration>,

        /// The missing dependency.
        #[source]
        source: Unavailable,
    },
}

/// A dependency of a session that is temporarily unavailable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unavailable {
    /// The session store.
    #[error("the session store does not answer")]
    Store(#[source] StoreError),

    /// Sealed under a key that a running rotation has not brought here yet.
    #[error("the keyring does not hold the key yet that sealed this")]
    Keyring,

    /// Entra.
    #[error("unable to renew the user's tokens")]
    Entra(#[source] EntraError),

    /// Other replicas changed the session again and again.
    #[error("the session is being changed by too many requests at once")]
    Contention,

    /// What is kept cannot be written; a defect of this project.
    #[error("the session cannot be sealed")]
    Sealing,
}

impl SessionError {
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

/// Why a code or refresh token was not redeemed: one variant for each answer a client can tell apart.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// `invalid_grant`: the client starts a new login.
    #[error("{0}")]
    Dead(DeadGrant),

    /// `invalid_scope`: more than was granted.
    #[error("the scope is not part of what the user granted")]
    Scope,

    /// 503 with `Retry-After`.
    #[error("the grant cannot be redeemed at the moment")]
    Unavailable(#[source] Unavailable),
}

/// Why a grant is dead. The words go to the client, so they say what its user can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeadGrant {
    /// Never ours, or altered.
    #[error("the grant is not valid; sign in again")]
    Unknown,

    /// Too old.
    #[error("the grant has expired; sign in again")]
    Expired,

    /// Issued to another client, for another redirect URI or resource.
    #[error("the grant was issued for another client, redirect URI or resource")]
    Binding,

    /// RFC 7636, section 4.6.
    #[error("the code verifier does not fit the code challenge")]
    Verifier,

    /// Redeemed before; the session that came of it has ended.
    #[error("the grant was used before, so its session has ended; sign in again")]
    Reused,

    /// The session is over.
    #[error("the session has ended; sign in again")]
    Ended,

    /// Entra wants the user; the session stays for calls that need nothing more.
    #[error("Entra wants the user to sign in again")]
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
