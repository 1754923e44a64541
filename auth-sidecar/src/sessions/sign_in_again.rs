//! The requirements of Entra for a user's next login.

use behalf_contract::Reauthenticate;
use behalf_entra::UserIdentity;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::{SessionError, Unavailable};
use super::grant::ClientDigest;
use super::per_user::UserDigest;
use super::repository::{Change, MOST_TRIES};
use super::{OpenSession, Sessions, later};
use crate::keys::Purpose;
use crate::store::{Entry, StoreKey, Written};

/// Life of the requirements for a next login. After it a login starts without them, and Entra asks again.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Clients of one user for which something is kept, the newest: anybody may register clients without end, and one
/// user could fill the store for all.
const MOST_CLIENTS: usize = 16;

/// For what is kept of one user, well below the longest sealed text. Usual claims have a few hundred bytes.
const MOST_BYTES: usize = 32 * 1024;

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

/// The requirements for the next login through one client.
#[derive(Clone, Serialize, Deserialize)]
struct Wanted {
    client: ClientDigest,
    again: SignInAgain,
    until: Timestamp,
}

impl Wanted {
    fn size(&self) -> usize {
        self.again.claims.as_ref().map_or(0, String::len)
    }
}

/// All that is kept of one user, oldest first, and whose it is.
#[derive(Serialize, Deserialize)]
struct Pending {
    user: UserDigest,
    kept: Vec<Wanted>,
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
        Ok(self.repository.change(&session.id, &session.secret, mark).await?)
    }

    async fn keep_pending(
        &self,
        user: &UserIdentity,
        client_id: &str,
        again: &SignInAgain,
    ) -> Result<(), SessionError> {
        let now = self.clock.now();
        let wanted = Wanted {
            client: ClientDigest::of(client_id),
            again: again.clone(),
            until: later(now, KEPT),
        };
        self.change_pending(user, |kept| {
            kept.retain(|other| other.client != wanted.client);
            kept.push(wanted.clone());
            let surplus = kept.len().saturating_sub(MOST_CLIENTS);
            kept.drain(..surplus);
            while kept.len() > 1 && kept.iter().map(Wanted::size).sum::<usize>() > MOST_BYTES {
                kept.remove(0);
            }
            Some(())
        })
        .await?;
        Ok(())
    }

    /// What Entra wants of this user, once: it is forgotten with this call, so that a challenge that a
    /// login does not satisfy cannot become a loop.
    pub(crate) async fn take_pending(
        &self,
        user: &UserIdentity,
        client_id: &str,
    ) -> Result<Option<SignInAgain>, SessionError> {
        let client = ClientDigest::of(client_id);
        self.change_pending(user, |kept| {
            let place = kept.iter().position(|wanted| wanted.client == client)?;
            Some(kept.remove(place).again)
        })
        .await
    }

    /// Reads, changes and writes what is kept of a user; again when somebody else wrote in between. `None` of
    /// `change` is no change.
    async fn change_pending<T>(
        &self,
        user: &UserIdentity,
        mut change: impl FnMut(&mut Vec<Wanted>) -> Option<T> + Send,
    ) -> Result<Option<T>, SessionError> {
        let place = UserDigest::of(user);
        let key = StoreKey::Pending(place.0);
        let now = self.clock.now();
        for _ in 0..MOST_TRIES {
            let entry = self.store.get(&key).await?;
            let revision = entry.as_ref().map_or(0, |entry| entry.revision);
            let mut kept = self.pending(entry.as_ref(), place);
            kept.retain(|wanted| wanted.until > now);
            let Some(changed) = change(&mut kept) else {
                return Ok(None);
            };
            // With the last of them the entry is over.
            let end = kept.iter().map(|wanted| wanted.until).max().unwrap_or(now);
            let sealed = self
                .keyring
                .seal(Purpose::Pending, &Pending { user: place, kept })
                .map_err(|_| SessionError::unavailable(Unavailable::Sealing))?;
            if self.store.put(&key, revision, sealed.into_bytes(), end).await? == Written::Stored {
                return Ok(Some(changed));
            }
        }
        Err(SessionError::unavailable(Unavailable::Contention))
    }

    /// What is kept of the user with this place; nothing where a store shows what is another's.
    fn pending(&self, entry: Option<&Entry>, place: UserDigest) -> Vec<Wanted> {
        let text = entry.and_then(|entry| std::str::from_utf8(&entry.value).ok());
        text.and_then(|text| self.keyring.open::<Pending>(Purpose::Pending, text).ok())
            .filter(|pending| pending.user == place)
            .map(|pending| pending.kept)
            .unwrap_or_default()
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
