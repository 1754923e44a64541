//! The session store in the memory of this process.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use behalf_entra::Clock;
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::{
    Announcement, Entry, MAX_VALUE_BYTES, PAGE_SESSIONS, Page, SessionStore, StoreError, StoreKey,
    StoreReport, StoreUsage, Written,
};
use crate::session_id::SessionId;

/// Limits of a [`MemoryStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Maximum number of entries without markers.
    pub entries: usize,

    /// Maximum number of markers ([`StoreKey::is_marker`]). They have a limit of their own, because a person
    /// without a sign-in can cause them.
    pub markers: usize,

    /// Maximum bytes of all values together.
    pub bytes: usize,

    /// Maximum bytes of one value.
    pub value_bytes: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self {
            // 100,000 users with one session each: a session is one entry, and so is the list of a user's sessions.
            entries: 205_000,
            // Each of 100,000 users has signed in within ten minutes, in which a marker expires, there were as many refused
            // callbacks as `limits/oauth_budgets.rs` permits, and 3,000 renewals are in flight.
            markers: 135_000,
            // 280 MiB with the store's own data (`docs/proxy.md`).
            bytes: 208 * 1024 * 1024,
            value_bytes: MAX_VALUE_BYTES,
        }
    }
}

/// Stores sessions in the memory of this process. It serves one replica only, and a restart ends all sessions.
///
/// Each write removes the expired entries, so that no background task is needed. At a limit the store refuses
/// new entries, because the eviction of an old one would log a user out.
pub struct MemoryStore {
    limits: MemoryLimits,
    clock: Arc<dyn Clock>,
    state: Mutex<MemoryState>,
}

#[derive(Default)]
struct MemoryState {
    entries: HashMap<StoreKey, Kept>,
    by_expiry: BTreeSet<(i64, StoreKey)>,
    markers: usize,
    bytes: usize,
}

/// An [`Entry`] in little memory: there may be several hundred thousand. The expiry is in milliseconds since the epoch.
struct Kept {
    revision: u64,
    value: Box<[u8]>,
    expires_at: i64,
}

impl Kept {
    fn entry(&self) -> Entry {
        Entry {
            revision: self.revision,
            value: self.value.to_vec(),
            expires_at: Timestamp::from_millisecond(self.expires_at).unwrap_or_default(),
        }
    }
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new(limits: MemoryLimits, clock: Arc<dyn Clock>) -> Self {
        Self {
            limits,
            clock,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, MemoryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryState {
    fn get(&self, key: &StoreKey, now: Timestamp) -> Option<&Kept> {
        self.entries
            .get(key)
            .filter(|kept| kept.expires_at > now.as_millisecond())
    }

    fn remove(&mut self, key: &StoreKey) -> Option<Kept> {
        let entry = self.entries.remove(key)?;
        self.by_expiry.remove(&(entry.expires_at, key.clone()));
        self.bytes = self.bytes.saturating_sub(entry.value.len());
        self.markers -= usize::from(key.is_marker());
        Some(entry)
    }

    fn insert(&mut self, key: &StoreKey, entry: Kept) {
        self.remove(key);
        self.bytes = self.bytes.saturating_add(entry.value.len());
        self.markers += usize::from(key.is_marker());
        self.by_expiry.insert((entry.expires_at, key.clone()));
        self.entries.insert(key.clone(), entry);
    }

    fn sweep(&mut self, now: Timestamp) {
        while let Some((expires_at, key)) = self.by_expiry.first().cloned() {
            if expires_at > now.as_millisecond() {
                break;
            }
            self.remove(&key);
        }
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        let now = self.clock.now();
        Ok(self.lock().get(key, now).map(Kept::entry))
    }

    async fn put(
        &self,
        key: &StoreKey,
        expected: u64,
        value: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<Written, StoreError> {
        if value.len() > self.limits.value_bytes {
            return Err(StoreError::TooLarge);
        }
        let now = self.clock.now();
        let mut state = self.lock();
        state.sweep(now);
        let kept = state.get(key, now);
        let (revision, size) = kept.map_or((0, 0), |entry| (entry.revision, entry.value.len()));
        let next = expected.saturating_add(1);
        if kept.is_some_and(|entry| entry.revision == next && *entry.value == *value) {
            return Ok(Written::Stored);
        }
        let has_no_record = key
            .record()
            .is_some_and(|record| state.get(&record, now).is_none());
        if revision != expected || has_no_record {
            return Ok(Written::Conflict);
        }
        // An entry that exists can always be written, because a refusal would lose its session.
        let is_new = kept.is_none();
        let bytes = state.bytes.saturating_sub(size).saturating_add(value.len());
        let is_full = if key.is_marker() {
            state.markers >= self.limits.markers
        } else {
            state.entries.len() - state.markers >= self.limits.entries
        };
        if is_new && (is_full || bytes > self.limits.bytes) {
            return Err(StoreError::Full);
        }
        state.insert(
            key,
            Kept {
                revision: next,
                value: value.into(),
                expires_at: expires_at.as_millisecond(),
            },
        );
        Ok(Written::Stored)
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.get(key, now).is_some()
            && let Some(mut entry) = state.remove(key)
        {
            entry.expires_at = expires_at.as_millisecond();
            state.insert(key, entry);
        }
        Ok(())
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        let now = self.clock.now();
        let mut state = self.lock();
        if let Some(companion) = key.companion() {
            state.remove(&companion);
        }
        let taken = state
            .remove(key)
            .filter(|kept| kept.expires_at > now.as_millisecond());
        Ok(taken.as_ref().map(Kept::entry))
    }

    async fn session_page(&self, cursor: Option<&str>) -> Result<Page, StoreError> {
        let after = cursor.and_then(SessionId::parse);
        let now = self.clock.now();
        let state = self.lock();
        let mut ids: Vec<SessionId> = state
            .entries
            .keys()
            .filter_map(|key| match key {
                StoreKey::Session(id) if after.is_none_or(|after| *id > after) => Some(*id),
                _ => None,
            })
            .collect();
        ids.sort_unstable();
        let is_last = ids.len() <= PAGE_SESSIONS;
        ids.truncate(PAGE_SESSIONS);
        let next = ids.last().filter(|_| !is_last).map(ToString::to_string);
        let entry = |id: SessionId| Some((id, state.get(&StoreKey::Session(id), now)?.entry()));
        let entries = ids.into_iter().filter_map(entry).collect();
        Ok(Page { entries, next })
    }

    async fn announce_end(&self, _: &SessionId) -> Result<(), StoreError> {
        Ok(())
    }

    fn announcements(&self) -> Option<broadcast::Receiver<Announcement>> {
        None
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn report(&self) -> Result<StoreReport, StoreError> {
        Ok(StoreReport::default())
    }

    fn usage(&self) -> Option<StoreUsage> {
        let now = self.clock.now();
        let mut state = self.lock();
        state.sweep(now);
        Some(StoreUsage {
            entries: state.entries.len(),
            bytes: state.bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use behalf_entra::FixedClock;
    use jiff::SignedDuration;

    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn store(limits: MemoryLimits) -> (Arc<FixedClock>, MemoryStore) {
        let clock = Arc::new(FixedClock::new(START));
        (Arc::clone(&clock), MemoryStore::new(limits, clock))
    }

    fn usage(store: &MemoryStore) -> StoreUsage {
        store.usage().unwrap()
    }

    fn key(number: u8) -> StoreKey {
        StoreKey::Pending([number; 32])
    }

    fn after(seconds: i64) -> Timestamp {
        START + SignedDuration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_write_on_an_old_revision_is_a_conflict() {
        let (_, store) = store(MemoryLimits::default());
        assert_eq!(
            store.put(&key(1), 0, vec![1], after(60)).await.unwrap(),
            Written::Stored
        );
        assert_eq!(
            store.put(&key(1), 0, vec![2], after(60)).await.unwrap(),
            Written::Conflict
        );
        assert_eq!(
            store.put(&key(1), 1, vec![3], after(60)).await.unwrap(),
            Written::Stored
        );
        assert_eq!(
            store.put(&key(1), 1, vec![4], after(60)).await.unwrap(),
            Written::Conflict
        );
        let entry = store.get(&key(1)).await.unwrap().unwrap();
        assert_eq!((entry.revision, entry.value), (2, vec![3]));
    }

    #[tokio::test]
    async fn an_expired_entry_is_not_returned_and_frees_its_place() {
        let (clock, store) = store(MemoryLimits {
            entries: 1,
            ..MemoryLimits::default()
        });
        store.put(&key(1), 0, vec![0; 10], after(60)).await.unwrap();
        clock.set(after(60));
        assert_eq!(store.get(&key(1)).await.unwrap(), None);
        assert_eq!(
            store.put(&key(2), 0, vec![0; 7], after(90)).await.unwrap(),
            Written::Stored
        );
        assert_eq!(usage(&store), StoreUsage { entries: 1, bytes: 7 });
    }

    #[tokio::test]
    async fn a_touch_moves_the_expiry_and_does_not_revive_an_expired_entry() {
        let (clock, store) = store(MemoryLimits::default());
        store.put(&key(1), 0, vec![1], after(60)).await.unwrap();
        store.touch(&key(1), after(120)).await.unwrap();
        clock.set(after(90));
        assert!(store.get(&key(1)).await.unwrap().is_some());
        clock.set(after(120));
        store.touch(&key(1), after(600)).await.unwrap();
        assert_eq!(store.get(&key(1)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn markers_take_no_place_of_sessions_and_have_their_own_limit() {
        let (_, store) = store(MemoryLimits {
            entries: 1,
            markers: 2,
            ..MemoryLimits::default()
        });
        let mark = |number| {
            let marker = StoreKey::Finished([number; 32]);
            let store = &store;
            async move { store.put(&marker, 0, Vec::new(), after(60)).await }
        };
        assert_eq!(mark(1).await.unwrap(), Written::Stored);
        assert_eq!(mark(2).await.unwrap(), Written::Stored);
        assert!(matches!(mark(3).await, Err(StoreError::Full)));
        assert_eq!(
            store.put(&key(1), 0, vec![1], after(60)).await.unwrap(),
            Written::Stored
        );
        assert!(matches!(
            store.put(&key(2), 0, vec![1], after(60)).await,
            Err(StoreError::Full)
        ));
        store.remove(&StoreKey::Finished([1; 32])).await.unwrap();
        assert_eq!(mark(3).await.unwrap(), Written::Stored);
    }

    #[tokio::test]
    async fn a_full_store_refuses_new_entries_and_keeps_the_old_ones_writable() {
        let (_, store) = store(MemoryLimits {
            entries: 1,
            bytes: 4,
            value_bytes: 8,
            ..MemoryLimits::default()
        });
        store.put(&key(1), 0, vec![1; 4], after(60)).await.unwrap();
        assert!(matches!(
            store.put(&key(2), 0, vec![1], after(60)).await,
            Err(StoreError::Full)
        ));
        assert_eq!(
            store.put(&key(1), 1, vec![1; 8], after(60)).await.unwrap(),
            Written::Stored
        );
        assert!(matches!(
            store.put(&key(1), 2, vec![1; 9], after(60)).await,
            Err(StoreError::TooLarge)
        ));
    }

    #[tokio::test]
    async fn a_taken_entry_is_removed() {
        let (_, store) = store(MemoryLimits::default());
        store.put(&key(1), 0, vec![1], after(60)).await.unwrap();
        assert!(store.remove(&key(1)).await.unwrap().is_some());
        assert_eq!(store.remove(&key(1)).await.unwrap(), None);
        assert_eq!(usage(&store), StoreUsage::default());
    }
}
