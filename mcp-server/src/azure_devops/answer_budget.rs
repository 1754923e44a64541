//! Limits the memory for answers of Azure DevOps: for all calls together, and for the calls with one token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Failure;

/// Memory for all answers, in bytes: three eighths of the container's default limit. Messages of clients take a
/// third at most (`hop/room.rs`); the rest is for the process.
const ALL: usize = 96 * 1024 * 1024;

/// Maximum number of bytes of memory for each byte of an answer while it is read and parsed. A growing buffer
/// has up to twice the size of its content. The values parsed from JSON are no larger than its text.
const WHILE_READ: usize = 3;

/// Memory that a request reserves before it is sent, in bytes. A request whose answer has no room is not
/// sent, because the outcome of a write would be unknown.
const LEAST: usize = 64 * 1024;

/// The memory that is left for answers.
#[derive(Clone)]
pub(super) struct AnswerBudget {
    all: Memory,
    /// The memory left for each token, by the token's SHA-256. An entry lives while a call with the token is
    /// in progress.
    tokens: Arc<Mutex<HashMap<[u8; 32], Weak<Semaphore>>>>,
}

/// The memory that the calls with one token may use: half of all. The calls of one user cannot block those of
/// all other users.
#[derive(Debug, Clone)]
pub(super) struct AnswerShare {
    all: Memory,
    token: Memory,
}

/// The memory reserved for one answer. Dropping the value releases it.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Permits of the token's memory and of the memory for all calls.
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
            tokens: Arc::default(),
        }
    }

    /// Returns the share of the token with this SHA-256.
    pub(super) fn share(&self, token: [u8; 32]) -> AnswerShare {
        let size = self.all.size / 2;
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, share| share.strong_count() > 0);
        let left = tokens.get(&token).and_then(Weak::upgrade).unwrap_or_else(|| {
            let left = Arc::new(Semaphore::new(size));
            tokens.insert(token, Arc::downgrade(&left));
            left
        });
        AnswerShare {
            all: self.all.clone(),
            token: Memory { left, size },
        }
    }
}

impl AnswerShare {
    /// Reserves the memory for the smallest answer.
    pub(super) fn take(&self) -> Result<Taken, Failure> {
        Ok(Taken {
            permits: self.permits(LEAST)?,
            share: self.clone(),
        })
    }

    fn permits(&self, bytes: usize) -> Result<[OwnedSemaphorePermit; 2], Failure> {
        Ok([
            self.token.permits(bytes, "with one token")?,
            self.all.permits(bytes, "of all calls")?,
        ])
    }
}

impl Taken {
    /// Extends the reservation to the memory that `bytes` of an answer need while they are read.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Failure> {
        let [token, all] = &mut self.permits;
        let missing = bytes.saturating_mul(WHILE_READ).saturating_sub(all.num_permits());
        let [more_of_token, more_of_all] = self.share.permits(missing)?;
        token.merge(more_of_token);
        all.merge(more_of_all);
        Ok(())
    }

    /// Reduces the reservation to the memory for the parsed values of an answer of `bytes`, once its text is
    /// dropped.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        for permit in &mut self.permits {
            let surplus = permit.num_permits().saturating_sub(bytes);
            drop(permit.split(surplus));
        }
    }
}

impl Memory {
    fn permits(&self, bytes: usize, whose: &str) -> Result<OwnedSemaphorePermit, Failure> {
        let bytes = u32::try_from(bytes).map_err(|_| Failure::TooLarge)?;
        let size = self.size;
        Arc::clone(&self.left).try_acquire_many_owned(bytes).map_err(|_| {
            tracing::warn!("Refused an answer of Azure DevOps: the answers {whose} may take {size} bytes");
            Failure::NoRoom
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_as_an_answer_grows_and_comes_back() {
        let budget = AnswerBudget::of(20 * LEAST);
        let share = budget.share([1; 32]);
        let left = || {
            (
                share.token.left.available_permits(),
                budget.all.left.available_permits(),
            )
        };
        let mut taken = share.take().unwrap();
        assert_eq!(left(), (9 * LEAST, 19 * LEAST));
        taken.grow_to(10).unwrap();
        assert_eq!(
            left(),
            (9 * LEAST, 19 * LEAST),
            "the least is enough for ten bytes"
        );
        taken.grow_to(2 * LEAST).unwrap();
        assert_eq!(left(), (4 * LEAST, 14 * LEAST));
        let mut other = share.take().unwrap();
        assert!(matches!(other.grow_to(2 * LEAST), Err(Failure::NoRoom)));
        taken.shrink_to(2 * LEAST);
        assert_eq!(left(), (7 * LEAST, 17 * LEAST));
        other.grow_to(2 * LEAST).unwrap();
        drop((taken, other));
        assert_eq!(left(), (10 * LEAST, 20 * LEAST));
    }

    #[test]
    fn the_calls_with_one_token_leave_half_to_the_others() {
        let budget = AnswerBudget::of(20 * LEAST);
        let calls = [(); 2].map(|()| budget.share([1; 32]));
        let mut taken = calls.each_ref().map(|call| call.take().unwrap());
        taken[0].grow_to(3 * LEAST).unwrap();
        assert!(matches!(taken[1].grow_to(LEAST), Err(Failure::NoRoom)));
        let other = budget.share([2; 32]);
        let mut others = other.take().unwrap();
        others.grow_to(3 * LEAST).unwrap();
        drop((calls, taken, other, others));
        budget.share([3; 32]).take().unwrap();
        assert_eq!(
            budget.tokens.lock().unwrap().len(),
            1,
            "ended calls leave nothing"
        );
    }
}
