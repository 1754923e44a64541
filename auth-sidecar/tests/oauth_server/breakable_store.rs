//! A session store that a test can make unreachable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use behalf_auth_sidecar::sessions::SessionId;
use behalf_auth_sidecar::store::{
    Announcement, Entry, MemoryStore, Page, SessionStore, StoreError, StoreKey, StoreReport, StoreUsage,
    Written,
};
use jiff::Timestamp;
use tokio::sync::broadcast::{Receiver, Sender};

/// A memory store that refuses every operation while it is broken. Replicas share it and announce through it.
pub(crate) struct Breakable {
    memory: MemoryStore,
    broken: AtomicBool,
    /// Number of operations that it refused while it was broken.
    refusals: AtomicUsize,
    /// The sealed requirements for next logins, in the order of the writes.
    pub(crate) pending: Mutex<Vec<String>>,
    /// The revisions of these writes.
    pub(crate) pending_revisions: Mutex<Vec<u64>>,
    announcements: Sender<Announcement>,
    mute: AtomicBool,
    full: AtomicBool,
    /// Removals happen, and their answers are lost.
    loses_removals: AtomicBool,
    /// A lost removal is tried again, and the second try gets its answer.
    tries_removals_again: AtomicBool,
    /// Removals get no answer.
    hangs_at_removals: AtomicBool,
    /// Number of times that a session was read.
    session_reads: AtomicUsize,
    /// Removals answer as if they happened, and do nothing to sessions.
    keeps_sessions: AtomicBool,
    /// The next listing finds nothing.
    hides_next_listing: AtomicBool,
    /// The keys of all entries that were ever written.
    written: Mutex<BTreeSet<StoreKey>>,
}

impl Breakable {
    pub(crate) fn new(memory: MemoryStore) -> Self {
        Self {
            memory,
            broken: AtomicBool::new(false),
            refusals: AtomicUsize::new(0),
            pending: Mutex::default(),
            pending_revisions: Mutex::default(),
            announcements: Sender::new(64),
            mute: AtomicBool::new(false),
            full: AtomicBool::new(false),
            loses_removals: AtomicBool::new(false),
            tries_removals_again: AtomicBool::new(false),
            hangs_at_removals: AtomicBool::new(false),
            session_reads: AtomicUsize::new(0),
            keeps_sessions: AtomicBool::new(false),
            hides_next_listing: AtomicBool::new(false),
            written: Mutex::default(),
        }
    }

    /// Returns every entry of the store.
    pub(crate) async fn entries(&self) -> BTreeMap<StoreKey, Entry> {
        let keys = self.written.lock().unwrap().clone();
        let mut entries = BTreeMap::new();
        for key in keys {
            if let Some(entry) = self.memory.get(&key).await.unwrap() {
                entries.insert(key, entry);
            }
        }
        entries
    }

    /// Refuses every write because of its memory.
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Loses the answers to removals from now on. With `tries_again` the second try of each finds nothing.
    pub(crate) fn lose_removals(&self, tries_again: bool) {
        self.tries_removals_again.store(tries_again, Ordering::Relaxed);
        self.loses_removals.store(true, Ordering::Relaxed);
    }

    /// Answers no removal from now on.
    pub(crate) fn hang_at_removals(&self) {
        self.hangs_at_removals.store(true, Ordering::Relaxed);
    }

    /// Removes no session from now on.
    pub(crate) fn keep_sessions(&self) {
        self.keeps_sessions.store(true, Ordering::Relaxed);
    }

    /// Hides all sessions from the next listing, as a fail-over during a listing can.
    pub(crate) fn hide_next_listing(&self) {
        self.hides_next_listing.store(true, Ordering::Relaxed);
    }

    /// Returns how often a session was read.
    pub(crate) fn session_reads(&self) -> usize {
        self.session_reads.load(Ordering::Relaxed)
    }

    /// Loses the announcements of replicas from now on.
    pub(crate) fn mute(&self) {
        self.mute.store(true, Ordering::Relaxed);
    }

    pub(crate) fn announce(&self, announcement: Announcement) {
        // Without a receiver there is no other replica.
        let _ = self.announcements.send(announcement);
    }

    pub(crate) fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    /// Returns how often the store refused an operation because it was broken.
    pub(crate) fn refusals(&self) -> usize {
        self.refusals.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Relaxed) {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            return Err(unreachable());
        }
        Ok(())
    }
}

fn unreachable() -> StoreError {
    let cause = Box::<dyn std::error::Error + Send + Sync>::from("cut off");
    StoreError::Unreachable(Arc::from(cause))
}

#[async_trait]
impl SessionStore for Breakable {
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        // Answers at a later turn, as a store over the network does.
        tokio::task::yield_now().await;
        self.check()?;
        if let StoreKey::Session(_) = key {
            self.session_reads.fetch_add(1, Ordering::Relaxed);
        }
        self.memory.get(key).await
    }

    async fn put(
        &self,
        key: &StoreKey,
        expected: u64,
        value: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<Written, StoreError> {
        self.check()?;
        if self.full.load(Ordering::Relaxed) {
            return Err(StoreError::Full);
        }
        if let StoreKey::Pending(_) = key {
            let sealed = String::from_utf8(value.clone()).unwrap();
            self.pending.lock().unwrap().push(sealed);
            self.pending_revisions.lock().unwrap().push(expected + 1);
        }
        self.written.lock().unwrap().insert(key.clone());
        self.memory.put(key, expected, value, expires_at).await
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<(), StoreError> {
        self.check()?;
        self.memory.touch(key, expires_at).await
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        // Another replica may have its turn between two operations, as with a store over the network.
        tokio::task::yield_now().await;
        self.check()?;
        if self.hangs_at_removals.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        if self.keeps_sessions.load(Ordering::Relaxed) && matches!(key, StoreKey::Session(_)) {
            return self.memory.get(key).await;
        }
        let taken = self.memory.remove(key).await;
        if self.loses_removals.load(Ordering::Relaxed) {
            let tries_again = self.tries_removals_again.load(Ordering::Relaxed);
            return Err(if tries_again {
                StoreError::MayBeRemoved
            } else {
                unreachable()
            });
        }
        taken
    }

    async fn session_page(&self, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.check()?;
        if self.hides_next_listing.swap(false, Ordering::Relaxed) {
            return Ok(Page {
                entries: Vec::new(),
                next: None,
            });
        }
        self.memory.session_page(cursor).await
    }

    async fn announce_end(&self, id: &SessionId) -> Result<(), StoreError> {
        self.check()?;
        if !self.mute.load(Ordering::Relaxed) {
            self.announce(Announcement::SessionEnded(*id));
        }
        Ok(())
    }

    fn announcements(&self) -> Option<Receiver<Announcement>> {
        Some(self.announcements.subscribe())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.check()?;
        self.memory.ping().await
    }

    async fn report(&self) -> Result<StoreReport, StoreError> {
        self.check()?;
        self.memory.report().await
    }

    fn usage(&self) -> Option<StoreUsage> {
        self.memory.usage()
    }
}
