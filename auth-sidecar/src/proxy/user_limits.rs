//! Limits the requests of one user through all sessions and clients, so that no user blocks the others. Each
//! replica counts its own requests.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use behalf_entra::UserIdentity;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::refusal::ProxyRefusal;
use crate::limits::body_budget::MessageMemory;
use crate::limits::weak_map::{WeakMap, WeakMapEntry};

/// Maximum number of tool calls of one user in flight. The built-in server accepts 64 calls of all users.
const MAX_CALLS: usize = 16;

/// Maximum number of tool calls of one user that wait for a slot. An agent that starts 30 calls at once gets
/// all of them answered. A loop that keeps starting calls is refused.
const MAX_WAITING: usize = 48;

/// Maximum time that a tool call waits for a slot. Many clients do not try again after 503; the calls of a fast
/// server end within this time.
const WAIT: Duration = Duration::from_secs(2);

/// Maximum number of GET requests of one user in flight, and of other requests that are no tool calls. The first ones are streams
/// of notifications, of which each client has one, so that they must not keep the client from sending a message. Without a limit
/// one user could take all connections of the port.
const MAX_STREAMS: usize = 64;
const MAX_OTHERS: usize = 64;

/// The users with requests in flight in this process.
#[derive(Clone, Default)]
pub(super) struct Users(WeakMap<Arc<UserIdentity>, UserLimits>);

/// The limits of one user. Most calls make them, because their user has no other request in flight, so that they are one
/// allocation.
struct UserLimits {
    messages: MessageMemory,
    calls: Semaphore,
    /// Counts the calls that wait for a slot.
    waiting: Semaphore,
    streams: Semaphore,
    others: Semaphore,
}

/// A kind of requests, each with its own slots.
#[derive(Clone, Copy)]
enum Kind {
    Call,
    Stream,
    Other,
}

impl UserLimits {
    fn slots(&self, kind: Kind) -> &Semaphore {
        match kind {
            Kind::Call => &self.calls,
            Kind::Stream => &self.streams,
            Kind::Other => &self.others,
        }
    }
}

/// A user with requests in flight. Every slot and body of the user keeps this alive, so that all requests of
/// the user share one set of limits.
#[derive(Clone)]
pub(super) struct User(Arc<WeakMapEntry<Arc<UserIdentity>, UserLimits>>);

/// One of the user's slots for requests. The drop releases it.
pub(super) struct Slot {
    user: User,
    kind: Kind,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.user.0.slots(self.kind).add_permits(1);
    }
}

impl Users {
    /// Returns the user's limits, which all current requests of the user share.
    pub(super) fn get(&self, user: &Arc<UserIdentity>) -> User {
        User(self.0.get_or_insert_with(Arc::clone(user), || UserLimits {
            messages: MessageMemory::of_user(),
            calls: Semaphore::new(MAX_CALLS),
            waiting: Semaphore::new(MAX_WAITING),
            streams: Semaphore::new(MAX_STREAMS),
            others: Semaphore::new(MAX_OTHERS),
        }))
    }
}

impl User {
    /// The memory for this user's messages.
    pub(super) fn message_memory(&self) -> &MessageMemory {
        &self.0.messages
    }

    /// Waits for a slot for a tool call, in the order of the calls. Dropping the future ends the wait.
    pub(super) async fn acquire_call(&self) -> Result<Slot, ProxyRefusal> {
        let calls = &self.0.calls;
        let permit = if let Ok(permit) = calls.try_acquire() {
            permit
        } else {
            let _waits = self.0.waiting.try_acquire().map_err(|_| ProxyRefusal::UserBusy)?;
            let slot = timeout(WAIT, calls.acquire());
            slot.await
                .ok()
                .and_then(Result::ok)
                .ok_or(ProxyRefusal::UserBusy)?
        };
        Ok(self.slot(Kind::Call, permit))
    }

    /// Acquires a slot for a request that is no tool call. It does not wait: nobody knows when a stream ends.
    pub(super) fn acquire_other(&self, method: &Method) -> Result<Slot, ProxyRefusal> {
        let kind = if method == Method::GET {
            Kind::Stream
        } else {
            Kind::Other
        };
        let permit = self.0.slots(kind).try_acquire();
        permit
            .map(|permit| self.slot(kind, permit))
            .map_err(|_| ProxyRefusal::UserBusy)
    }

    fn slot(&self, kind: Kind, permit: SemaphorePermit<'_>) -> Slot {
        // The drop of the slot returns it. A permit cannot be kept beside its semaphore.
        permit.forget();
        Slot {
            user: self.clone(),
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(oid: &str) -> Arc<UserIdentity> {
        Arc::new(UserIdentity {
            tid: "contoso".to_owned(),
            oid: oid.to_owned(),
        })
    }

    async fn fill(user: &User) -> Vec<Slot> {
        let mut calls = Vec::new();
        for _ in 0..MAX_CALLS {
            calls.push(user.acquire_call().await.unwrap());
        }
        calls
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_keeps_its_users_limits_and_the_last_one_removes_them() {
        let users = Users::default();
        let calls = fill(&users.get(&user("ana"))).await;
        assert_eq!(
            users.get(&user("ana")).acquire_call().await.err(),
            Some(ProxyRefusal::UserBusy),
            "only the calls keep the limits alive"
        );
        assert!(users.get(&user("ben")).acquire_call().await.is_ok());
        drop(calls);
        assert_eq!(users.0.len(), 0);
        assert!(users.get(&user("ana")).acquire_call().await.is_ok());
    }

    #[tokio::test]
    async fn each_kind_of_requests_has_slots_of_its_own_which_are_free_again_after_it() {
        let users = Users::default();
        let ana = users.get(&user("ana"));
        for _ in 0..2 {
            let _calls = fill(&ana).await;
            let all = |method: Method, most: usize| -> Vec<Slot> {
                (0..most).map(|_| ana.acquire_other(&method).unwrap()).collect()
            };
            let _others = [all(Method::GET, MAX_STREAMS), all(Method::POST, MAX_OTHERS)];
            for method in [Method::GET, Method::DELETE] {
                assert_eq!(ana.acquire_other(&method).err(), Some(ProxyRefusal::UserBusy));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_a_place_for_a_bounded_time() {
        let users = Users::default();
        let ana = users.get(&user("ana"));
        let mut calls = fill(&ana).await;
        let began = tokio::time::Instant::now();
        assert_eq!(ana.acquire_call().await.err(), Some(ProxyRefusal::UserBusy));
        assert_eq!(began.elapsed(), WAIT);

        let frees = async {
            tokio::time::sleep(WAIT / 2).await;
            calls.pop();
        };
        let (call, ()) = tokio::join!(ana.acquire_call(), frees);
        assert!(call.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_calls_that_wait_is_bounded_and_one_whose_client_left_does_not_count() {
        let users = Users::default();
        let ana = users.get(&user("ana"));
        let _calls = fill(&ana).await;
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(ana.acquire_call())).collect();
        for call in &mut waiting {
            assert!(futures::poll!(call.as_mut()).is_pending());
        }
        let began = tokio::time::Instant::now();
        assert_eq!(ana.acquire_call().await.err(), Some(ProxyRefusal::UserBusy));
        assert!(began.elapsed().is_zero(), "one more does not wait");
        waiting.pop();
        let mut next = Box::pin(ana.acquire_call());
        assert!(futures::poll!(next.as_mut()).is_pending());
    }
}
