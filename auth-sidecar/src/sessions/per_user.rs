//! How many sessions one user may have: so many that nobody meets the bound in daily work, and so few that one
//! user alone cannot fill the store for all.

use behalf_entra::UserIdentity;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::error::{SessionError, Unavailable};
use super::repository::MOST_TRIES;
use super::{Sessions, later};
use crate::keys::{OpenError, Purpose};
use crate::session_id::SessionId;
use crate::store::{Entry, StoreKey, Written};

/// Sessions of one user, through all clients.
const MOST: usize = 64;

impl Sessions {
    /// Counts a session that has just been kept. One too many ends the user's oldest.
    pub(super) async fn count(&self, user: &UserIdentity, id: &SessionId) -> Result<(), SessionError> {
        let place = UserDigest::of(user);
        let key = StoreKey::User(place.0);
        // This process counts a user's logins one after the other; other replicas may count at the same time.
        let counting = self.counting.hold(place, Mutex::default);
        let _turn = counting.lock().await;
        for _ in 0..MOST_TRIES {
            let entry = self.store.get(&key).await?;
            let revision = entry.as_ref().map_or(0, |entry| entry.revision);
            let mut ids = self.listed(entry.as_ref(), &place)?;
            if ids.len() >= MOST {
                ids = self.living(ids).await?;
            }
            let surplus = (ids.len() + 1).saturating_sub(MOST);
            let oldest: Vec<_> = ids.drain(..surplus).collect();
            ids.push(*id);
            let sealed = self
                .keyring
                .seal(
                    Purpose::User,
                    &Listed {
                        user: place,
                        ids: &ids,
                    },
                )
                .map_err(|_| SessionError::unavailable(Unavailable::Sealing))?;
            // No session that is listed now lives longer.
            let end = later(self.clock.now(), self.rules.maximum_lifetime);
            if self.store.put(&key, revision, sealed.into_bytes(), end).await? == Written::Stored {
                for id in oldest {
                    self.end(&id).await?;
                    tracing::info!(
                        session.id = %id,
                        "Ended session {id}: its user has {MOST} newer ones"
                    );
                }
                return Ok(());
            }
        }
        Err(SessionError::unavailable(Unavailable::Contention))
    }

    /// The user's sessions, oldest first, also those that have ended since.
    fn listed(&self, entry: Option<&Entry>, place: &UserDigest) -> Result<Vec<SessionId>, SessionError> {
        let Some(entry) = entry else { return Ok(Vec::new()) };
        let text = std::str::from_utf8(&entry.value).unwrap_or_default();
        match self.keyring.open::<Listed<Vec<SessionId>>>(Purpose::User, text) {
            Ok(listed) if listed.user == *place => Ok(listed.ids),
            Err(OpenError::UnknownKey {
                rotation_pending: true,
            }) => Err(SessionError::unavailable(Unavailable::Keyring)),
            // The store shows another user's list; or its key has retired, and with it every session of that time.
            Ok(_) | Err(_) => Ok(Vec::new()),
        }
    }

    async fn living(&self, ids: Vec<SessionId>) -> Result<Vec<SessionId>, SessionError> {
        let mut living = Vec::with_capacity(ids.len());
        for id in ids {
            if self.store.get(&StoreKey::Session(id)).await?.is_some() {
                living.push(id);
            }
        }
        Ok(living)
    }
}

/// A user's sessions, oldest first, and whose they are: a store that exchanges lists changes nothing.
#[derive(Serialize, Deserialize)]
struct Listed<T> {
    user: UserDigest,
    ids: T,
}

/// SHA-256 of a user's tenant and object id, whose border counts: the user's place in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct UserDigest(pub(super) [u8; 32]);

impl UserDigest {
    pub(super) fn of(user: &UserIdentity) -> Self {
        let mut hash = Sha256::new();
        for part in [&user.tid, &user.oid] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}
