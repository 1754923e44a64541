//! The memory for answers of Azure DevOps, of all calls together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Failure;

/// Memory for all answers, in bytes: three eighths of the container's default limit. Messages of clients take a
/// third at most (`hop/room.rs`); the rest is for the process.
const ALL: usize = 96 * 1024 * 1024;

/// What a byte of an answer takes at most while it is read and parsed: a buffer that grows has twice the size, and
/// the values that are made of JSON are no larger than its text.
const WHILE_READ: usize = 3;

/// What a request takes before it is sent, in bytes, so that a request whose answer has no room is not sent: nobody
/// would know what a write did.
const LEAST: usize = 64 * 1024;

/// The memory that is left.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// The memory of one answer, until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    permit: OwnedSemaphorePermit,
    room: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self::of(ALL)
    }
}

impl Room {
    fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// The memory for the smallest answer.
    pub(super) fn take(&self) -> Result<Taken, Failure> {
        Ok(Taken {
            permit: permits(&self.0, LEAST)?,
            room: Arc::clone(&self.0),
        })
    }
}

impl Taken {
    /// Takes what `bytes` of an answer need while they are read.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Failure> {
        let missing = bytes
            .saturating_mul(WHILE_READ)
            .saturating_sub(self.permit.num_permits());
        self.permit.merge(permits(&self.room, missing)?);
        Ok(())
    }

    /// Keeps what the values of an answer of `bytes` need once its text is gone.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.permit.num_permits().saturating_sub(bytes);
        drop(self.permit.split(surplus));
    }
}

fn permits(room: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
    let bytes = u32::try_from(bytes).map_err(|_| Failure::TooLarge)?;
    Arc::clone(room).try_acquire_many_owned(bytes).map_err(|_| {
        tracing::warn!("Refused an answer of Azure DevOps: those being read take {ALL} bytes");
        Failure::NoRoom
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_as_an_answer_grows_and_comes_back() {
        let room = Room::of(10 * LEAST);
        let left = || room.0.available_permits();
        let mut taken = room.take().unwrap();
        assert_eq!(left(), 9 * LEAST);
        taken.grow_to(10).unwrap();
        assert_eq!(left(), 9 * LEAST, "the least is enough for ten bytes");
        taken.grow_to(2 * LEAST).unwrap();
        assert_eq!(left(), 4 * LEAST);
        let mut other = room.take().unwrap();
        assert!(matches!(other.grow_to(2 * LEAST), Err(Failure::NoRoom)));
        taken.shrink_to(2 * LEAST);
        assert_eq!(left(), 7 * LEAST);
        other.grow_to(2 * LEAST).unwrap();
        drop((taken, other));
        assert_eq!(left(), 10 * LEAST);
    }
}
