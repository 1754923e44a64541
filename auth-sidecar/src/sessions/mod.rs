//! The sessions of signed-in users: codes, access tokens, refresh tokens and records.
//!
//! A client gets an access token and a refresh token. Both are sealed, and contain the session's id and secret.
//! The session's record and, beside it, the user's Entra tokens open only with the secret and the keyring
//! together. `docs/sessions.md` lists the lifetimes.
//!
//! `repository` opens and writes records; other files ask the store only whether a record exists. Every other kind of
//! entry in the store has one file here that reads and writes it.

mod access_token;
mod administration;
mod authorization_code;
mod declared_revocations;
mod end_signal;
mod entra_bearer;
mod entra_refresh;
mod error;
mod expiry;
mod finished_flows;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
mod grant;
mod introspection;
mod open_session;
mod packed_token;
mod record;
mod refresh_grant;
mod refresh_rotation;
mod refused_downstream;
mod remembered_sessions;
mod remote_ends;
mod renewal_lease;
mod renewals;
mod repository;
mod rules;
mod session_audit;
mod session_limit;
mod shared_downstream;
mod sign_in_again;
mod step_up;
mod summary;
mod token_revocation;
mod user_digest;
mod user_tokens;

use std::sync::Arc;
use std::time::Duration;

use behalf_entra::{Clock, EntraClient};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use self::end_signal::EndSignals;
pub(crate) use self::end_signal::SessionEnd;
use self::expiry::later;
use self::refused_downstream::RefusedDownstream;
use self::remembered_sessions::RememberedSessions;
use self::renewals::Renewals;
use self::repository::{Removal, SessionRepository};
use self::user_digest::UserDigest;
use crate::keys::{KeyringHandle, Random};
use crate::limits::weak_map::WeakMap;
use crate::revocations_file::RevocationsFile;
use crate::store::{SessionStore, StoreError};

pub use crate::session_id::SessionId;
pub use administration::{ListedSession, RevokedSessions, SessionPage};
pub use authorization_code::{CodeRedemption, NewLogin};
pub use error::{DeadGrant, GrantError, SessionError, Unavailable};
pub use grant::ClientTokens;
pub use introspection::ActiveToken;
pub use open_session::OpenSession;
pub use rules::SessionRules;
pub use sign_in_again::SignInAgain;
pub use token_revocation::Revocation;

/// Issues, opens, renews and ends the sessions of this server.
pub struct Sessions {
    repository: SessionRepository,
    rules: SessionRules,
    keyring: Arc<KeyringHandle>,
    store: Arc<dyn SessionStore>,
    entra: EntraClient,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    renewals: Renewals,
    end_signals: EndSignals,
    remembered: RememberedSessions,
    revocations: Arc<RevocationsFile>,
    refused_downstream: RefusedDownstream,
    /// True if other replicas use the same store.
    is_shared: bool,
    /// Serializes the changes of one user's list of sessions. Logins of other users do not wait.
    user_locks: WeakMap<UserDigest, Mutex<()>>,
}

impl Sessions {
    /// Creates the sessions of this server, with their records in `store`.
    pub fn new(
        rules: SessionRules,
        revocations: Arc<RevocationsFile>,
        keyring: Arc<KeyringHandle>,
        store: Arc<dyn SessionStore>,
        entra: EntraClient,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let repository = SessionRepository::new(
            Arc::clone(&keyring),
            Arc::clone(&store),
            Arc::clone(&clock),
            rules.idle_lifetime,
        );
        let is_shared = store.announcements().is_some();
        Self {
            repository,
            is_shared,
            rules,
            keyring,
            store,
            entra,
            clock,
            random,
            renewals: Renewals::default(),
            end_signals: EndSignals::default(),
            remembered: RememberedSessions::default(),
            refused_downstream: RefusedDownstream::default(),
            revocations,
            user_locks: WeakMap::default(),
        }
    }

    /// The resource (RFC 8707) that every access token is bound to.
    pub fn resource(&self) -> &str {
        &self.rules.resource
    }

    /// Returns the time from now until `moment`, or zero if `moment` has passed.
    pub(crate) fn until(&self, moment: Timestamp) -> Duration {
        Duration::try_from(moment.duration_since(self.clock.now())).unwrap_or_default()
    }

    /// True when the user of `session` signed in at most this long ago.
    pub(crate) fn signed_in_within(&self, session: &OpenSession, time: SignedDuration) -> bool {
        self.clock.now().duration_since(session.signed_in_at) <= time
    }

    /// The store of the records, for metrics and readiness.
    pub fn store(&self) -> &dyn SessionStore {
        self.store.as_ref()
    }

    /// Removes a session and ends its open requests and streams.
    async fn end(&self, id: &SessionId) -> Result<Removal, StoreError> {
        let removed = self.repository.remove(id).await;
        // Also without an answer, because the store may have removed the session.
        self.end_everywhere(id).await;
        removed
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sessions")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
