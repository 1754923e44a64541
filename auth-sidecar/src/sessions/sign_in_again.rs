//! The requirements of Entra for a user's next login.

use behalf_contract::Reauthenticate;
use behalf_entra::UserIdentity;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::{SessionError, Unavailable};
use super::grant::ClientDigest;
use super::repository::{Change, MAX_ATTEMPTS};
use super::user_digest::UserDigest;
use super::{OpenSession, Sessions, later};
use crate::keys::Purpose;
use crate::store::{Entry, StoreKey, Written};

/// Lifetime of the stored requirements. A later login starts without them, and Entra states them again.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// Lifetime of an entry after its last requirements were removed. If it were removed at once, its revisions would begin
/// again, and a replica that read the old entry could overwrite a new one. No request takes as long.
const EMPTY_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// Maximum number of clients of one user with stored requirements. The newest are kept. Clients can register
/// without limit, so that otherwise one user could fill the store.
const MAX_CLIENTS: usize = 16;

/// Maximum bytes of claims for one user. It is well below the longest sealed text. Usual claims have a few
/// hundred bytes.
const MAX_CLAIMS_BYTES: usize = 32 * 1024;

/// The requirements of Entra for the next login of a user.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInAgain {
    /// The `claims` parameter of the next authorization request at Entra: a JSON object as text.
    pub claims: Option<String>,

    /// The next authorization request at Entra asks for consent.
    pub consent: bool,
}

impl SignInAgain {
    /// True when an ordinary login is enough.
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

/// The requirements for the next login through one client.
#[derive(Clone, Serialize, Deserialize)]
struct ClientRequirements {
    client: ClientDigest,
    again: SignInAgain,
    until: Timestamp,
}

impl ClientRequirements {
    fn claims_bytes(&self) -> usize {
        self.again.claims.as_ref().map_or(0, String::len)
    }
}

/// The stored requirements of one user, oldest first. They contain their user, so that a store cannot exchange
/// the entries of two users.
#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    user: UserDigest,
    kept: Vec<ClientRequirements>,
}

/// Hides the claims, because they can show the content of a policy.
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
    /// Requires a new sign-in, because Entra or the server demands it. The requirements are stored for the next
    /// login of the same user through the same client. The next refresh of this family answers `invalid_grant`,
    /// so that the client logs in. The session itself stays.
    pub async fn require_sign_in(
        &self,
        session: &OpenSession,
        again: SignInAgain,
    ) -> Result<(), SessionError> {
        if !again.is_plain() {
            self.save_pending(&session.user, &session.client_id, &again)
                .await?;
        }
        let mark = |record: &mut super::record::Record, _: &mut _| {
            if record.sign_in_required {
                return Change::Nothing(());
            }
            record.sign_in_required = true;
            Change::Write(())
        };
        Ok(self.repository.change(&session.id, &session.secret, mark).await?)
    }

    async fn save_pending(
        &self,
        user: &UserIdentity,
        client_id: &str,
        again: &SignInAgain,
    ) -> Result<(), SessionError> {
        let now = self.clock.now();
        let new = ClientRequirements {
            client: ClientDigest::of(client_id),
            again: again.clone(),
            until: later(now, LIFETIME),
        };
        self.change_pending(user, |kept| {
            kept.retain(|other| other.client != new.client);
            kept.push(new.clone());
            let surplus = kept.len().saturating_sub(MAX_CLIENTS);
            kept.drain(..surplus);
            let bytes = |kept: &[ClientRequirements]| -> usize {
                kept.iter().map(ClientRequirements::claims_bytes).sum()
            };
            while kept.len() > 1 && bytes(kept) > MAX_CLAIMS_BYTES {
                kept.remove(0);
            }
            Some(())
        })
        .await?;
        Ok(())
    }

    /// Removes and returns the requirements for this user and client. They apply to one login only, so that a
    /// challenge that the login does not satisfy does not repeat for ever.
    pub(crate) async fn remove_pending(
        &self,
        user: &UserIdentity,
        client_id: &str,
    ) -> Result<Option<SignInAgain>, SessionError> {
        let client = ClientDigest::of(client_id);
        self.change_pending(user, |kept| {
            let index = kept.iter().position(|stored| stored.client == client)?;
            Some(kept.remove(index).again)
        })
        .await
    }

    /// Loads, changes and writes the requirements of a user. Starts again when another writer was faster. Writes
    /// nothing when `change` returns `None`.
    async fn change_pending<T>(
        &self,
        user: &UserIdentity,
        mut change: impl FnMut(&mut Vec<ClientRequirements>) -> Option<T> + Send,
    ) -> Result<Option<T>, SessionError> {
        let user = UserDigest::of(user);
        let key = StoreKey::Pending(user.0);
        let now = self.clock.now();
        for _ in 0..MAX_ATTEMPTS {
            let entry = self.store.get(&key).await?;
            let revision = entry.as_ref().map_or(0, |entry| entry.revision);
            let mut kept = self.pending(entry.as_ref(), user);
            kept.retain(|stored| stored.until > now);
            let Some(changed) = change(&mut kept) else {
                return Ok(None);
            };
            // The entry expires together with the last requirements in it.
            let end = kept.iter().map(|stored| stored.until).max();
            let end = end.unwrap_or(later(now, EMPTY_LIFETIME));
            let sealed = self
                .keyring
                .seal(Purpose::Pending, &Pending { user, kept })
                .map_err(|_| SessionError::unavailable(Unavailable::Sealing))?;
            if self.store.put(&key, revision, sealed.into_bytes(), end).await? == Written::Stored {
                return Ok(Some(changed));
            }
        }
        Err(SessionError::unavailable(Unavailable::Contention))
    }

    /// Opens the stored requirements. Returns none if the store returned another user's entry.
    fn pending(&self, entry: Option<&Entry>, user: UserDigest) -> Vec<ClientRequirements> {
        let text = entry.and_then(|entry| std::str::from_utf8(&entry.value).ok());
        text.and_then(|text| self.keyring.open::<Pending>(Purpose::Pending, text).ok())
            .filter(|pending| pending.user == user)
            .map(|pending| pending.kept)
            .unwrap_or_default()
    }
}
