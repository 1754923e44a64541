//! What one user may have under way, through all sessions and clients, so that no user denies the others.
//!
//! In this process only: each replica counts its own.

use std::sync::Arc;

use behalf_entra::UserIdentity;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::bodies::Share;
use crate::held::{Held, Registry};

/// Tool calls of one user at a time. The server of this project takes 64 of all users.
const MOST_CALLS: usize = 16;

/// The tenant and the object id: together the only key of a user.
type Key = (String, String);

/// The users that something of this process goes on for.
#[derive(Clone, Default)]
pub(super) struct Users(Registry<Key, Part>);

/// What one user may take.
struct Part {
    bodies: Share,
    calls: Arc<Semaphore>,
}

/// One of them. Whatever takes of a user's part holds on to the user, so that there is one part.
#[derive(Clone)]
pub(super) struct User(Arc<Held<Key, Part>>);

/// A tool call's place, until it is dropped.
pub(super) struct Call {
    _permit: OwnedSemaphorePermit,
    _user: User,
}

impl Users {
    /// The user, as long as somebody holds on.
    pub(super) fn hold(&self, user: &UserIdentity) -> User {
        User(self.0.hold((user.tid.clone(), user.oid.clone()), || Part {
            bodies: Share::of_user(),
            calls: Arc::new(Semaphore::new(MOST_CALLS)),
        }))
    }
}

impl User {
    /// The memory for this user's messages on their way in.
    pub(super) fn bodies(&self) -> &Share {
        &self.0.bodies
    }

    /// A place for a tool call; nobody waits for one.
    pub(super) fn call(&self) -> Result<Call, Refusal> {
        let permit = Arc::clone(&self.0.calls)
            .try_acquire_owned()
            .map_err(|_| Refusal::UserBusy)?;
        Ok(Call {
            _permit: permit,
            _user: self.clone(),
        })
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
        assert_eq!(users.0.len(), 0);
        assert!(users.hold(&user("ana")).call().is_ok());
    }
}
