//! Limits the requests of one user through all sessions and clients, so that no user blocks the others.
//!
//! In this process only: each replica counts its own.

use std::sync::Arc;
use std::time::Duration;

use behalf_entra::UserIdentity;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::refusal::Refusal;
use crate::limits::body_budget::Share;
use crate::limits::weak_map::{Held, Registry};

/// Tool calls of one user at a time. The server of this project takes 64 of all users.
const MOST_CALLS: usize = 16;

/// Maximum number of tool calls of one user that wait for a place. An agent that starts 30 calls at once gets
/// all of them answered. A loop that keeps starting calls is refused.
const MOST_WAITING: usize = 48;

/// Maximum time that a tool call waits for a place. Many clients do not try again after 503; the calls of a fast
/// server end within this time.
const WAIT: Duration = Duration::from_secs(2);

/// The tenant and the object id: together the only key of a user.
type Key = (String, String);

/// The users that something of this process goes on for.
#[derive(Clone, Default)]
pub(super) struct Users(Registry<Key, Part>);

/// The share of one user.
struct Part {
    bodies: Share,
    calls: Arc<Semaphore>,
    /// Semaphore of the calls that wait.
    waiting: Semaphore,
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
            waiting: Semaphore::new(MOST_WAITING),
        }))
    }
}

impl User {
    /// The memory for this user's messages on their way in.
    pub(super) fn bodies(&self) -> &Share {
        &self.0.bodies
    }

    /// Waits for a place for a tool call, in the order of the calls. Dropping the future ends the wait.
    pub(super) async fn call(&self) -> Result<Call, Refusal> {
        let calls = &self.0.calls;
        let permit = if let Ok(permit) = Arc::clone(calls).try_acquire_owned() {
            permit
        } else {
            let _waits = self.0.waiting.try_acquire().map_err(|_| Refusal::UserBusy)?;
            let place = timeout(WAIT, Arc::clone(calls).acquire_owned());
            place.await.ok().and_then(Result::ok).ok_or(Refusal::UserBusy)?
        };
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

    async fn fill(user: &User) -> Vec<Call> {
        let mut calls = Vec::new();
        for _ in 0..MOST_CALLS {
            calls.push(user.call().await.unwrap());
        }
        calls
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_holds_the_user_and_the_last_one_leaves_nothing_behind() {
        let users = Users::default();
        let calls = fill(&users.hold(&user("ana"))).await;
        assert_eq!(
            users.hold(&user("ana")).call().await.err(),
            Some(Refusal::UserBusy),
            "though nothing but the calls holds on"
        );
        assert!(users.hold(&user("ben")).call().await.is_ok());
        drop(calls);
        assert_eq!(users.0.len(), 0);
        assert!(users.hold(&user("ana")).call().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_a_place_for_a_bounded_time() {
        let users = Users::default();
        let ana = users.hold(&user("ana"));
        let mut calls = fill(&ana).await;
        let began = tokio::time::Instant::now();
        assert_eq!(ana.call().await.err(), Some(Refusal::UserBusy));
        assert_eq!(began.elapsed(), WAIT);

        let frees = async {
            tokio::time::sleep(WAIT / 2).await;
            calls.pop();
        };
        let (call, ()) = tokio::join!(ana.call(), frees);
        assert!(call.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_calls_that_wait_is_bounded_and_one_whose_client_left_does_not_count() {
        let users = Users::default();
        let ana = users.hold(&user("ana"));
        let _calls = fill(&ana).await;
        let mut waiting: Vec<_> = (0..MOST_WAITING).map(|_| Box::pin(ana.call())).collect();
        for call in &mut waiting {
            assert!(futures::poll!(call.as_mut()).is_pending());
        }
        let began = tokio::time::Instant::now();
        assert_eq!(ana.call().await.err(), Some(Refusal::UserBusy));
        assert!(began.elapsed().is_zero(), "one more does not wait");
        waiting.pop();
        let mut next = Box::pin(ana.call());
        assert!(futures::poll!(next.as_mut()).is_pending());
    }
}
