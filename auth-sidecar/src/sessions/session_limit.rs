//! Limits the number of sessions of one user. The limit is too high for daily work to reach it, and too low for
//! one user to fill the store.

use behalf_entra::UserIdentity;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::error::{SessionError, Unavailable};
use super::repository::MAX_ATTEMPTS;
use super::user_digest::UserDigest;
use super::{Sessions, later};
use crate::keys::{OpenError, Purpose};
use crate::session_id::SessionId;
use crate::store::{Entry, StoreKey, Written};

/// Maximum number of sessions of one user through all clients.
const MAX_SESSIONS: usize = 64;

impl Sessions {
    /// Adds a new session to its user's list. Beyond the limit the user's oldest session ends.
    pub(super) async fn add_to_user(&self, user: &UserIdentity, id: &SessionId) -> Result<(), SessionError> {
        let user_digest = UserDigest::of(user);
        let key = StoreKey::User(user_digest.0);
        // Logins in this process wait for each other. Other replicas may change the list at the same time.
        let lock = self.user_locks.get_or_insert_with(user_digest, Mutex::default);
        let _guard = lock.lock().await;
        for _ in 0..MAX_ATTEMPTS {
            let entry = self.store.get(&key).await?;
            let revision = entry.as_ref().map_or(0, |entry| entry.revision);
            let mut ids = self.open_list(entry.as_ref(), &user_digest)?;
            if ids.len() >= MAX_SESSIONS {
                ids = self.living(ids).await?;
            }
            let surplus = (ids.len() + 1).saturating_sub(MAX_SESSIONS);
            let oldest: Vec<_> = ids.drain(..surplus).collect();
            ids.push(*id);
            let sealed = self
                .keyring
                .seal(
                    Purpose::User,
                    &SessionList {
                        user: user_digest,
                        ids: &ids,
                    },
                )
                .map_err(|_| SessionError::unavailable(Unavailable::Sealing))?;
            // Every session in the list ends before this time.
            let end = later(self.clock.now(), self.rules.maximum_lifetime);
            if self.store.put(&key, revision, sealed.into_bytes(), end).await? == Written::Stored {
                for id in oldest {
                    let owner = self.owner(&id).await?;
                    self.end(&id).await?;
                    if let Some(owner) = owner {
                        owner.end(&id).because("too_many_sessions").succeeded();
                    }
                }
                return Ok(());
            }
        }
        Err(SessionError::unavailable(Unavailable::Contention))
    }

    /// Returns the ids in the user's list, oldest first. Some of the sessions may have ended.
    fn open_list(&self, entry: Option<&Entry>, user: &UserDigest) -> Result<Vec<SessionId>, SessionError> {
        let Some(entry) = entry else { return Ok(Vec::new()) };
        let text = std::str::from_utf8(&entry.value).unwrap_or_default();
        match self
            .keyring
            .open::<SessionList<Vec<SessionId>>>(Purpose::User, text)
        {
            Ok(listed) if listed.user == *user => Ok(listed.ids),
            Err(OpenError::UnknownKey {
                rotation_pending: true,
            }) => Err(SessionError::unavailable(Unavailable::Keyring)),
            // The store returned another user's list, or the list's key was retired. The sessions of a retired
            // key cannot be opened either.
            Ok(_) | Err(_) => Ok(Vec::new()),
        }
    }

    /// Returns the ids of the sessions that have not ended.
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

/// The ids of a user's sessions, oldest first. The list contains its user, so that a store cannot exchange the
/// lists of two users.
#[derive(Serialize, Deserialize)]
pub(super) struct SessionList<T> {
    user: UserDigest,
    ids: T,
}
