//! The session store: keys, values with revisions, and the trait that each store implements.

mod memory;
mod observed;
mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::Timestamp;
use tokio::sync::broadcast;

pub use memory::{MemoryLimits, MemoryStore};
pub(crate) use observed::ObservedStore;
pub(crate) use redis::MAX_WAIT;
#[cfg(any(fuzzing, test))]
pub(crate) use redis::fuzzing;
pub use redis::{RedisSettingsError, RedisStore};

use crate::session_id::SessionId;

/// Maximum bytes of one value. A record with two of Entra's largest tokens is smaller.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// The key of an entry. The variant is the kind of the entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreKey {
    /// The record of a session.
    Session(SessionId),

    /// The downstream token of a session.
    Downstream(SessionId),

    /// The ids of one user's sessions, under the SHA-256 of the user's tenant and object id.
    User([u8; 32]),

    /// The requirements of Entra for one user's next logins, under the SHA-256 of the user's tenant and object id.
    Pending([u8; 32]),

    /// Marks an approved request whose callback has arrived, under the SHA-256 of the request's handle.
    Finished([u8; 32]),

    /// The replica that renews a session's tokens at Entra.
    Renewal(SessionId),
}

impl StoreKey {
    /// True for an entry that says only that something happened or is going on. Its value is a random number.
    pub(crate) fn is_marker(&self) -> bool {
        matches!(self, Self::Finished(_) | Self::Renewal(_))
    }

    /// The record without which this entry is not written.
    fn record(&self) -> Option<Self> {
        match self {
            Self::Downstream(id) => Some(Self::Session(*id)),
            _ => None,
        }
    }

    /// The entry that is removed together with this one.
    fn companion(&self) -> Option<Self> {
        match self {
            Self::Session(id) => Some(Self::Downstream(*id)),
            _ => None,
        }
    }

    /// The id as base64url, and the kind. Stores outside this process name their entries with it.
    pub(crate) fn parts(&self) -> (String, &'static str) {
        let (id, kind): (&[u8], _) = match self {
            Self::Session(id) => (id.as_bytes(), "session"),
            Self::Downstream(id) => (id.as_bytes(), "downstream"),
            Self::User(hash) => (hash, "user"),
            Self::Pending(hash) => (hash, "pending"),
            Self::Finished(hash) => (hash, "finished"),
            Self::Renewal(id) => (id.as_bytes(), "renewal"),
        };
        (BASE64URL.encode(id), kind)
    }
}

/// A stored value with its revision and expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number of the write that stored the value. The first write has number 1.
    pub revision: u64,

    /// Sealed bytes. The store cannot read them.
    pub value: Vec<u8>,

    /// The entry expires at this time, unless [`SessionStore::touch`] moves it.
    pub expires_at: Timestamp,
}

/// Maximum number of sessions in one page of a store that decides it itself.
const PAGE_SESSIONS: usize = 100;

/// A part of the list of all sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Some sessions and their entries, in no order.
    pub entries: Vec<(SessionId, Entry)>,

    /// Continues the list. `None` at the end.
    pub next: Option<String>,
}

/// Information that a replica gets from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// The open requests and streams of this session must end.
    SessionEnded(SessionId),

    /// Earlier announcements may have been lost.
    Lost,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The store has the new value.
    Stored,

    /// The entry has another revision than expected, because another writer was faster, or its session has no record.
    /// The store is unchanged. The caller reads the entry and decides again.
    Conflict,
}

/// The state of a store, for the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// `maxmemory-policy` of a Redis. Absent for other stores, and if the Redis does not say.
    pub eviction_policy: Option<String>,
}

/// Size of a store's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// Number of entries of all kinds.
    pub entries: usize,

    /// Bytes of all values, without the store's own overhead.
    pub bytes: usize,
}

/// Why a store did not do an operation. Clients get 503, never 401: the session may still exist.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A new entry would exceed a limit of the store. The store evicts no entry for it.
    #[error("the session store is full; raise its memory or shorten spec.sessions.idleLifetime")]
    Full,

    /// The value exceeds the store's limit for one value. No session of this project is that large.
    #[error("the session is too large for the store")]
    TooLarge,

    /// The store did not answer, or answered with an error.
    #[error("failed to reach the session store")]
    Unreachable(#[source] Arc<dyn std::error::Error + Send + Sync>),

    /// A removal got no answer, and its second try found no entry. This process, or another one before, has removed it.
    #[error("the answer of the session store to a removal was lost")]
    MayBeRemoved,

    /// Another program wrote this entry: it has another type or other fields. Other entries are not concerned.
    #[error("another program wrote this entry of the session store; delete the entry")]
    Foreign(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// Returns a short name of the kind of error, for traces.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TooLarge => "too_large",
            Self::Unreachable(_) => "unreachable",
            Self::MayBeRemoved => "may_be_removed",
            Self::Foreign(_) => "foreign",
        }
    }
}

/// Stores sealed values. Each value has a revision and an expiry.
///
/// Writes are compare-and-swap, so that replicas need no locks. Each operation takes one round trip, and may arrive twice
/// at a store over the network.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Returns the entry, or `None` if there is none or it has expired.
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError>;

    /// Writes a value as revision `expected + 1` if the stored entry has revision `expected`. With `expected`
    /// zero it writes only if there is no entry. A session's downstream token is written only while its record exists.
    ///
    /// If the entry has revision `expected + 1` and this value already, the write arrived twice, and is stored. So each
    /// write needs a value of its own: sealed values have one by their nonce, markers are random.
    async fn put(
        &self,
        key: &StoreKey,
        expected: u64,
        value: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<Written, StoreError>;

    /// Sets the expiry of an entry. Does nothing if there is no entry.
    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<(), StoreError>;

    /// Removes the entry and returns it. A session's record takes its downstream token with it.
    ///
    /// # Errors
    /// [`StoreError::MayBeRemoved`] if there is no entry, and an earlier try of this call may have removed it.
    async fn remove(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError>;

    /// Returns the part of the list of all sessions that `cursor` continues, or the first one. A session that exists from
    /// the first part to the last is in one of them at least. Entries that another program wrote are in none. Takes more
    /// than one round trip.
    async fn session_page(&self, cursor: Option<&str>) -> Result<Page, StoreError>;

    /// Tells all replicas, this one included, that the open requests and streams of a session must end. A store of
    /// one process does nothing.
    async fn announce_end(&self, id: &SessionId) -> Result<(), StoreError>;

    /// Returns the announcements of all replicas from now on, or `None` for a store of one process.
    fn announcements(&self) -> Option<broadcast::Receiver<Announcement>>;

    /// Succeeds if the store answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Returns the current state of the store. Fails if the store does not answer.
    async fn report(&self) -> Result<StoreReport, StoreError>;

    /// Returns the size of a store that belongs to this process alone. A shared store has none: it also contains entries
    /// of other replicas and other objects.
    fn usage(&self) -> Option<StoreUsage> {
        None
    }
}
