//! Where sessions are kept.

mod memory;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

pub use memory::{MemoryLimits, MemoryStore};

use crate::session_id::SessionId;

/// The kinds of entries and their names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreKey {
    /// A session's record.
    Session(SessionId),

    /// The ids of one user's sessions; the hash of the user.
    User([u8; 32]),

    /// What Entra wants of a user at the next login; the hash of the user.
    Pending([u8; 32]),

    /// An approved request that has come back from Entra; the hash of its handle.
    Finished([u8; 32]),
}

/// A value with its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Grows by one with each write.
    pub revision: u64,

    /// Sealed: a store reads nothing of it.
    pub value: Vec<u8>,

    /// When it goes, unless it is touched.
    pub expires_at: Timestamp,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is kept.
    Stored,

    /// Another writer was first. The caller reads and decides again.
    Conflict,
}

/// How much a store holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// Entries.
    pub entries: usize,

    /// Bytes of values, without what the store itself needs.
    pub bytes: usize,
}

/// Why a store did not do what it was asked: in every case 503, never 401.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A bound is reached; nothing that is kept was given up for it.
    #[error("the session store is full; raise its memory or shorten spec.sessions.idleLifetime")]
    Full,

    /// The value is larger than any session of this project.
    #[error("the session is too large to be kept")]
    TooLarge,

    /// No answer.
    #[error("failed to reach the session store")]
    Unreachable(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// A store of sealed values with a revision and an end each.
///
/// Writes are compare-and-swap, so that replicas need no locks. Every operation is one round trip.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Reads a value that has not expired.
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError>;

    /// Writes a value as revision `expected + 1` when the kept one has revision `expected`; zero means that
    /// nothing may be kept under this key.
    async fn put(
        &self,
        key: &StoreKey,
        expected: u64,
        value: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<Written, StoreError>;

    /// Moves the end of what is kept. Nothing happens when nothing is.
    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<(), StoreError>;

    /// Removes and returns what is kept.
    async fn take(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError>;

    /// The current content of the store.
    async fn usage(&self) -> Result<StoreUsage, StoreError>;
}
