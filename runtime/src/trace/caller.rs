//! The sender of a request. The queue of spans is shared among the senders.

use std::hash::{DefaultHasher, Hash, Hasher as _};

/// The sender of the request that a trace describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The program itself: nobody asked for the work.
    Program,
    /// A user with a live session, by a number. Two users with one number share a part of the queue.
    User(u64),
    /// Anybody.
    Stranger,
}

impl Caller {
    /// The user with this identity.
    pub fn user<T: Hash + ?Sized>(identity: &T) -> Self {
        let mut hasher = DefaultHasher::new();
        identity.hash(&mut hasher);
        Self::User(hasher.finish())
    }
}
