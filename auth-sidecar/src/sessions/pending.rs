//! What Entra wants of a user at the next login.

use behalf_contract::Reauthenticate;
use behalf_entra::UserIdentity;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::engine::{Change, OpenSession, Sessions, later};
use super::error::{SessionError, Unavailable};
use super::per_user::digest;
use crate::keys::Purpose;
use crate::store::{StoreKey, Written};

/// Who has not signed in again by then starts over without it; Entra would ask anew.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

const MOST_TRIES: usize = 4;

/// Entra wants the user back.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInAgain {
    /// A claims challenge to send along: a JSON object as text.
    pub claims: Option<String>,

    /// The next login asks for consent.
    pub consent: bool,
}

impl SignInAgain {
    /// True when the next login need not be different from any other.
    pub fn is_plain(&self) -> bool {
        self.claims.is_none() && !self.consent
    }
}

impl From<Reauthenticate> for SignInAgain {
    fn from(wanted: Reauthenticate) -> Self {
        Self {
            claims: wanted.claims,
            consent: wanted.consent,
        }
    }
}

impl From<Option<String>> for SignInAgain {
    fn from(claims: Option<String>) -> Self {
        Self {
            claims,
            consent: false,
        }
    }
}

/// Claims may name what a policy is about.
impl std::fmt::Debug for SignInAgain {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SignInAgain")
            .field("claims", &self.claims.as_ref().map(|_| ".."))
            .field("consent", &self.consent)
            .finish()
    }
}

impl Sessions {
    /// Entra, or the server, wants the user. What is wanted is kept for the next login of the same user
    /// through the same client; the next refresh of this family answers `invalid_grant`, which makes the
    /// client log in. The session itself stays.
    pub async fn require_sign_in(
        &self,
        session: &OpenSession,
        again: impl Into<SignInAgain> + Send,
    ) -> Result<(), SessionError> {
        let again = again.into();
        if !again.is_plain() {
            self.keep_pending(&session.user, &session.client_id, &again)
                .await?;
        }
        let mark = |record: &mut super::record::Record| {
            if record.sign_in_required {
                return Change::Nothing(());
            }
            record.sign_in_required = true;
            Change::Write(())
        };
        Ok(self.change(&session.id, &session.secret, mark).await?)
    }

    async fn keep_pending(
        &self,
        user: &UserIdentity,
        client_id: &str,
        again: &SignInAgain,
    ) -> Result<(), SessionError> {
        let key = pending_key(user, client_id);
        let sealed = self
            .keyring
            .seal(Purpose::Pending, again)
            .map_err(|_| SessionError::unavailable(Unavailable::Sealing))?;
        let end = later(self.clock.now(), KEPT);
        for _ in 0..MOST_TRIES {
            let revision = self.store.get(&key).await?.map_or(0, |entry| entry.revision);
            if self
                .store
                .put(&key, revision, sealed.clone().into_bytes(), end)
                .await?
                == Written::Stored
            {
                return Ok(());
            }
        }
        Err(SessionError::unavailable(Unavailable::Contention))
    }

    /// What Entra wants of this user, once: it is forgotten with this call, so that a challenge that a
    /// login does not satisfy cannot become a loop.
    pub(crate) async fn take_pending(
        &self,
        user: &UserIdentity,
        client_id: &str,
    ) -> Result<Option<SignInAgain>, SessionError> {
        let Some(entry) = self.store.take(&pending_key(user, client_id)).await? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&entry.value).unwrap_or_default();
        Ok(self.keyring.open(Purpose::Pending, text).ok())
    }

    /// Notes that an approved request has come back. True the first time.
    pub(crate) async fn finish_flow(
        &self,
        handle: &str,
        lifetime: SignedDuration,
    ) -> Result<bool, SessionError> {
        let key = StoreKey::Finished(Sha256::digest(handle).into());
        let end = later(self.clock.now(), lifetime);
        Ok(self.store.put(&key, 0, Vec::new(), end).await? == Written::Stored)
    }
}

fn pending_key(user: &UserIdentity, client_id: &str) -> StoreKey {
    StoreKey::Pending(digest(&[&user.tid, &user.oid, client_id]))
}
