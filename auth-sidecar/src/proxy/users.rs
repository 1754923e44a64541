//! What one user may have under way, through all sessions and clients, so that no user denies the others.
//!
//! In this process only: each replica counts its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use behalf_entra::UserIdentity;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::bodies::Share;

/// Tool calls of one user at a time. The server of this project takes 64 of all users.
const MOST_CALLS: usize = 16;

/// The tenant and the object id: together the only key of a user.
type Key = (String, String);

/// The users that something of this process goes on for.
#[derive(Clone, Default)]
pub(super) struct Users(Arc<Mutex<HashMap<Key, Weak<User>>>>);

/// One of them. Whatever takes of a user's part holds on to the user, so that there is one part.
pub(super) struct User {
    key: Key,
    bodies: Share,
    calls: Arc<Semaphore>,
    all: Users,
}

/// A tool call's place, until it is dropped.
pub(super) struct Call {
    _permit: OwnedSemaphorePermit,
    _user: Arc<User>,
}

impl Users {
    /// The user, as long as somebody holds on.
    pub(super) fn hold(&self, user: &UserIdentity) -> Arc<User> {
        let key = (user.tid.clone(), user.oid.clone());
        let mut held = self.held();
        if let Some(user) = held.get(&key).and_then(Weak::upgrade) {
            return user;
        }
        let user = Arc::new(User {
            key: key.clone(),
            bodies: Share::of_user(),
            calls: Arc::new(Semaphore::new(MOST_CALLS)),
            all: self.clone(),
        });
        held.insert(key, Arc::downgrade(&user));
        user
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Key, Weak<User>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl User {
    /// The memory for this user's messages on their way in.
    pub(super) fn bodies(&self) -> &Share {
        &self.bodies
    }

    /// A place for a tool call; nobody waits for one.
    pub(super) fn call(self: &Arc<Self>) -> Result<Call, Refusal> {
        let permit = Arc::clone(&self.calls)
            .try_acquire_owned()
            .map_err(|_| Refusal::UserBusy)?;
        Ok(Call {
            _permit: permit,
            _user: Arc::clone(self),
        })
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut held = self.all.held();
        // Another may have taken the place since the last holder let go.
        if held
            .get(&self.key)
            .is_some_and(|kept| std::ptr::eq(kept.as_ptr(), self))
        {
            held.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(oid: &str) -> UserIdentity {
        UserIdentity {
            tid: "contoso".to_owned(),
            oid: oid.to_owned(),
        }
    }

    #[test]
    fn a_call_holds_the_user_and_the_last_one_leaves_nothing_behind() {
        let users = Users::default();
        let calls: Vec<_> = (0..MOST_CALLS)
            .map(|_| users.hold(&user("ana")).call().unwrap())
            .collect();
        assert_eq!(
            users.hold(&user("ana")).call().err(),
            Some(Refusal::UserBusy),
            "though nothing but the calls holds on"
        );
        assert!(users.hold(&user("ben")).call().is_ok());
        drop(calls);
        assert!(users.held().is_empty());
        assert!(users.hold(&user("ana")).call().is_ok());
    }
}
