//! Where sessions are kept.

mod memory;
mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::Timestamp;

pub use memory::{MemoryLimits, MemoryStore};
pub use redis::{RedisSettingsError, RedisStore};

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

impl StoreKey {
    /// The id as base64url, and the kind. Stores outside this process name their entries with it.
    pub(crate) fn parts(&self) -> (String, &'static str) {
        let (id, kind): (&[u8], _) = match self {
            Self::Session(id) => (id.as_bytes(), "session"),
            Self::User(hash) => (hash, "user"),
            Self::Pending(hash) => (hash, "pending"),
            Self::Finished(hash) => (hash, "finished"),
        };
        (BASE64URL.encode(id), kind)
    }
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

/// The current state of a store, for metrics and the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// The content of a store that belongs to this process alone. A shared store also contains entries of other
    /// replicas and other objects.
    pub usage: Option<StoreUsage>,

    /// `maxmemory-policy` of a Redis. Absent for other stores, and if the Redis does not say.
    pub eviction_policy: Option<String>,
}

/// The content of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// Number of entries.
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

    /// Asks the store for its state. Fails if the store does not answer.
    async fn report(&self) -> Result<StoreReport, StoreError>;
}
