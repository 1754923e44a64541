//! Limits the memory for answers of Azure DevOps: for all calls together, and for the calls of one user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::Failure;
use crate::token::UserKey;

/// Memory for all answers, in bytes: three eighths of the container's default limit. Messages of clients take at
/// most a third (`hop/capacity.rs`). The rest is for the process.
const ALL: usize = 96 * 1024 * 1024;

/// Maximum number of bytes of memory for each byte of an answer while it is read. A growing buffer has up to twice the size of
/// its content.
const WHILE_READ: usize = 3;

/// Memory in bytes for each object or list of a JSON answer once it is parsed. The largest value that the tools read of an object
/// takes about 400, also if the object is empty, and a list that grows has room for twice as many.
pub(super) const OF_OBJECT: usize = 1024;

/// Memory in bytes that a request reserves before it is sent. Without it the request is not sent, because the
/// outcome of a write would be unknown.
const LEAST: usize = 64 * 1024;

/// The memory that is left for answers.
#[derive(Clone)]
pub(super) struct AnswerBudget {
    all: Memory,
    /// The memory left for each user. An entry lives while a call of the user is in progress.
    users: Arc<Mutex<HashMap<UserKey, Weak<Semaphore>>>>,
}

/// The memory that the calls of one user may use, through all sessions: half of all. So the calls of one user
/// cannot block those of all others.
#[derive(Debug, Clone)]
pub(super) struct AnswerShare {
    all: Memory,
    user: Memory,
}

/// The memory reserved for one answer. Dropping the value releases it.
#[derive(Debug)]
pub(crate) struct Reserved {
    /// Permits of the user's memory and of the memory for all calls.
    permits: [OwnedSemaphorePermit; 2],
    share: AnswerShare,
}

#[derive(Debug, Clone)]
struct Memory {
    left: Arc<Semaphore>,
    size: usize,
}

impl Default for AnswerBudget {
    fn default() -> Self {
        Self::of(ALL)
    }
}

impl AnswerBudget {
    fn of(size: usize) -> Self {
        let left = Arc::new(Semaphore::new(size));
        Self {
            all: Memory { left, size },
            users: Arc::default(),
        }
    }

    /// Returns the share of `user`.
    pub(super) fn share(&self, user: UserKey) -> AnswerShare {
        let size = self.all.size / 2;
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|_, share| share.strong_count() > 0);
        let left = users.get(&user).and_then(Weak::upgrade).unwrap_or_else(|| {
            let left = Arc::new(Semaphore::new(size));
            users.insert(user, Arc::downgrade(&left));
            left
        });
        AnswerShare {
            all: self.all.clone(),
            user: Memory { left, size },
        }
    }
}

impl AnswerShare {
    /// Reserves the memory for the smallest answer.
    pub(super) fn reserve(&self) -> Result<Reserved, Failure> {
        Ok(Reserved {
            permits: self.permits(LEAST)?,
            share: self.clone(),
        })
    }

    fn permits(&self, bytes: usize) -> Result<[OwnedSemaphorePermit; 2], Failure> {
        Ok([
            self.user.permits(bytes, "of one user")?,
            self.all.permits(bytes, "of all calls")?,
        ])
    }
}

impl Reserved {
    /// Extends the reservation to the memory that `bytes` of an answer need while they are read.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Failure> {
        self.reserve_all(bytes.saturating_mul(WHILE_READ))
    }

    /// Extends the reservation to the memory that an answer of `bytes` needs while its `objects` are parsed.
    pub(super) fn grow_to_parse(&mut self, bytes: usize, objects: usize) -> Result<(), Failure> {
        let parsed = objects.saturating_mul(OF_OBJECT);
        self.reserve_all(bytes.saturating_add(parsed))
    }

    fn reserve_all(&mut self, bytes: usize) -> Result<(), Failure> {
        let [user, all] = &mut self.permits;
        let missing = bytes.saturating_sub(all.num_permits());
        let [more_of_user, more_of_all] = self.share.permits(missing)?;
        user.merge(more_of_user);
        all.merge(more_of_all);
        Ok(())
    }

    /// Reduces the reservation to `bytes`: the text or the parsed values of an answer, once the rest is dropped.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        for permit in &mut self.permits {
            let surplus = permit.num_permits().saturating_sub(bytes);
            drop(permit.split(surplus));
        }
    }
}

impl Memory {
    fn permits(&self, bytes: usize, answers: &str) -> Result<OwnedSemaphorePermit, Failure> {
        let bytes = u32::try_from(bytes).map_err(|_| Failure::TooLarge)?;
        let size = self.size;
        Arc::clone(&self.left).try_acquire_many_owned(bytes).map_err(|_| {
            tracing::warn!(
                "Refused an answer of Azure DevOps: the answers to requests {answers} may take {size} bytes; if this happens often, \
                 raise the number of replicas or make fewer calls at once"
            );
            Failure::NoMemory
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserKey {
        UserKey::of_unverified_token(&behalf_entra::Secret::new(name))
    }

    #[test]
    fn reserves_memory_as_an_answer_grows_and_releases_it() {
        let budget = AnswerBudget::of(20 * LEAST);
        let share = budget.share(user("ana"));
        let left = || {
            (
                share.user.left.available_permits(),
                budget.all.left.available_permits(),
            )
        };
        let mut taken = share.reserve().unwrap();
        assert_eq!(left(), (9 * LEAST, 19 * LEAST));
        taken.grow_to(10).unwrap();
        assert_eq!(
            left(),
            (9 * LEAST, 19 * LEAST),
            "the smallest reservation holds ten bytes"
        );
        taken.grow_to(2 * LEAST).unwrap();
        assert_eq!(left(), (4 * LEAST, 14 * LEAST));
        let mut other = share.reserve().unwrap();
        assert!(matches!(other.grow_to(2 * LEAST), Err(Failure::NoMemory)));
        taken.shrink_to(2 * LEAST);
        assert_eq!(left(), (7 * LEAST, 17 * LEAST));
        other.grow_to(2 * LEAST).unwrap();
        drop((taken, other));
        assert_eq!(left(), (10 * LEAST, 20 * LEAST));
    }

    #[test]
    fn reserves_memory_for_objects_that_are_larger_than_their_text() {
        let budget = AnswerBudget::of(20 * LEAST);
        let share = budget.share(user("ana"));
        let mut taken = share.reserve().unwrap();
        let objects = 4 * LEAST / OF_OBJECT;
        taken.grow_to_parse(LEAST, objects).unwrap();
        assert_eq!(share.user.left.available_permits(), 5 * LEAST);
        let mut other = share.reserve().unwrap();
        let refused = other.grow_to_parse(LEAST, 2 * objects);
        assert!(matches!(refused, Err(Failure::NoMemory)));
    }

    #[test]
    fn the_calls_of_one_user_leave_half_to_the_others() {
        let budget = AnswerBudget::of(20 * LEAST);
        let calls = [(); 2].map(|()| budget.share(user("ana")));
        let mut taken = calls.each_ref().map(|call| call.reserve().unwrap());
        taken[0].grow_to(3 * LEAST).unwrap();
        assert!(matches!(taken[1].grow_to(LEAST), Err(Failure::NoMemory)));
        let other = budget.share(user("ben"));
        let mut others = other.reserve().unwrap();
        others.grow_to(3 * LEAST).unwrap();
        drop((calls, taken, other, others));
        budget.share(user("carol")).reserve().unwrap();
        assert_eq!(budget.users.lock().unwrap().len(), 1, "ended calls leave nothing");
    }
}
