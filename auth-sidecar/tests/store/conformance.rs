//! The promises of a session store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use behalf_auth_sidecar::keys::SystemRandom;
use behalf_auth_sidecar::sessions::SessionId;
use behalf_auth_sidecar::store::{Entry, Page, SessionStore, StoreError, StoreKey, Written};
use behalf_entra::{Clock as _, FixedClock, SystemClock};
use jiff::{SignedDuration, Timestamp};

/// The time of a store: moved by the test, or real.
#[async_trait::async_trait]
pub(crate) trait Passage: Send + Sync {
    fn now(&self) -> Timestamp;

    async fn pass(&self, time: Duration);
}

/// Time that the test moves.
pub(crate) struct Moved(pub(crate) Arc<FixedClock>);

#[async_trait::async_trait]
impl Passage for Moved {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn pass(&self, time: Duration) {
        let moved = SignedDuration::try_from(time).unwrap();
        self.0.set(self.0.now() + moved);
    }
}

/// Time as it passes.
pub(crate) struct Real;

#[async_trait::async_trait]
impl Passage for Real {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Long against a slow machine, short against a test.
const LIFE: Duration = Duration::from_millis(1500);

/// Runs every check. Each one uses keys of its own.
pub(crate) async fn check_all(store: &dyn SessionStore, passage: &dyn Passage) {
    only_the_expected_revision_is_replaced(store, passage).await;
    an_absent_entry_has_no_revision(store, passage).await;
    an_expired_entry_is_gone(store, passage).await;
    a_touch_moves_the_expiry_and_creates_nothing(store, passage).await;
    an_entry_is_taken_once(store, passage).await;
    values_are_bytes_and_bounded(store, passage).await;
    kinds_of_keys_are_apart(store, passage).await;
    one_of_many_writers_wins(store, passage).await;
    a_write_that_arrives_twice_is_stored_once(store, passage).await;
    a_downstream_token_exists_only_beside_its_record(store, passage).await;
    every_session_is_listed_once_it_is_stored(store, passage).await;
    store.report().await.unwrap();
}

fn after(passage: &dyn Passage, life: Duration) -> Timestamp {
    // Redis keeps milliseconds.
    let end = passage.now() + SignedDuration::try_from(life).unwrap();
    Timestamp::from_millisecond(end.as_millisecond()).unwrap()
}

async fn only_the_expected_revision_is_replaced(store: &dyn SessionStore, passage: &dyn Passage) {
    let (key, end) = (StoreKey::User([1; 32]), after(passage, LIFE * 20));
    let put = |expected, value: u8| store.put(&key, expected, vec![value], end);
    assert_eq!(put(0, 1).await.unwrap(), Written::Stored);
    assert_eq!(put(0, 2).await.unwrap(), Written::Conflict);
    assert_eq!(put(2, 2).await.unwrap(), Written::Conflict);
    assert_eq!(put(1, 3).await.unwrap(), Written::Stored);
    assert_eq!(put(1, 4).await.unwrap(), Written::Conflict);
    let expected = Entry {
        revision: 2,
        value: vec![3],
        expires_at: end,
    };
    assert_eq!(store.get(&key).await.unwrap(), Some(expected));
}

async fn an_absent_entry_has_no_revision(store: &dyn SessionStore, passage: &dyn Passage) {
    let (key, end) = (StoreKey::User([2; 32]), after(passage, LIFE * 20));
    assert_eq!(store.get(&key).await.unwrap(), None);
    assert_eq!(store.put(&key, 1, vec![1], end).await.unwrap(), Written::Conflict);
    assert_eq!(store.get(&key).await.unwrap(), None);
    assert_eq!(store.remove(&key).await.unwrap(), None);
}

async fn an_expired_entry_is_gone(store: &dyn SessionStore, passage: &dyn Passage) {
    let key = StoreKey::Pending([3; 32]);
    store.put(&key, 0, vec![1], after(passage, LIFE)).await.unwrap();
    assert!(store.get(&key).await.unwrap().is_some());
    passage.pass(LIFE + LIFE / 4).await;
    assert_eq!(store.get(&key).await.unwrap(), None);
    assert_eq!(store.remove(&key).await.unwrap(), None);
    // Its revision is gone with it.
    let end = after(passage, LIFE);
    assert_eq!(store.put(&key, 0, vec![2], end).await.unwrap(), Written::Stored);
    assert_eq!(store.get(&key).await.unwrap().unwrap().revision, 1);
}

async fn a_touch_moves_the_expiry_and_creates_nothing(store: &dyn SessionStore, passage: &dyn Passage) {
    let (key, absent) = (StoreKey::Pending([4; 32]), StoreKey::Pending([5; 32]));
    store.put(&key, 0, vec![1], after(passage, LIFE)).await.unwrap();
    let end = after(passage, LIFE * 20);
    store.touch(&key, end).await.unwrap();
    store.touch(&absent, end).await.unwrap();
    passage.pass(LIFE + LIFE / 4).await;
    let entry = store.get(&key).await.unwrap().unwrap();
    assert_eq!((entry.revision, entry.expires_at), (1, end));
    assert_eq!(store.get(&absent).await.unwrap(), None);
}

async fn an_entry_is_taken_once(store: &dyn SessionStore, passage: &dyn Passage) {
    let (key, end) = (StoreKey::Finished([6; 32]), after(passage, LIFE * 20));
    store.put(&key, 0, vec![7; 3], end).await.unwrap();
    let answers = futures::future::join_all((0..8).map(|_| store.remove(&key))).await;
    let taken: Vec<_> = answers.into_iter().filter_map(Result::unwrap).collect();
    let expected = Entry {
        revision: 1,
        value: vec![7; 3],
        expires_at: end,
    };
    assert_eq!(taken, [expected]);
    assert_eq!(store.get(&key).await.unwrap(), None);
}

async fn values_are_bytes_and_bounded(store: &dyn SessionStore, passage: &dyn Passage) {
    let (key, end) = (StoreKey::Finished([7; 32]), after(passage, LIFE * 20));
    let all_bytes: Vec<u8> = (0..=u8::MAX).cycle().take(64 * 1024).collect();
    store.put(&key, 0, all_bytes.clone(), end).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap().value, all_bytes);
    store.put(&key, 1, Vec::new(), end).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap().value, Vec::<u8>::new());
    let refused = store.put(&key, 2, vec![0; 64 * 1024 + 1], end).await;
    assert!(matches!(refused, Err(StoreError::TooLarge)), "{refused:?}");
}

async fn kinds_of_keys_are_apart(store: &dyn SessionStore, passage: &dyn Passage) {
    let end = after(passage, LIFE * 20);
    let keys = [
        StoreKey::User([8; 32]),
        StoreKey::Pending([8; 32]),
        StoreKey::Finished([8; 32]),
    ];
    for (number, key) in (1..).zip(&keys) {
        assert_eq!(
            store.put(key, 0, vec![number], end).await.unwrap(),
            Written::Stored
        );
    }
    for (number, key) in (1..).zip(&keys) {
        assert_eq!(store.get(key).await.unwrap().unwrap().value, [number]);
    }
}

async fn one_of_many_writers_wins(store: &dyn SessionStore, passage: &dyn Passage) {
    let (key, end) = (StoreKey::User([9; 32]), after(passage, LIFE * 20));
    for round in 0..20 {
        let writes =
            futures::future::join_all((0..8).map(|writer| store.put(&key, round, vec![writer], end))).await;
        let stored = writes
            .into_iter()
            .filter(|written| matches!(written, Ok(Written::Stored)));
        assert_eq!(stored.count(), 1, "in round {round}");
    }
}

/// The Redis client sends a write again when it lost the connection before the answer came.
async fn a_write_that_arrives_twice_is_stored_once(store: &dyn SessionStore, passage: &dyn Passage) {
    let (key, end) = (StoreKey::User([10; 32]), after(passage, LIFE * 20));
    for expected in [0, 1] {
        for _ in 0..2 {
            let written = store.put(&key, expected, vec![7], end).await.unwrap();
            assert_eq!(written, Written::Stored);
        }
        assert_eq!(store.get(&key).await.unwrap().unwrap().revision, expected + 1);
    }
    // Neither an older write nor another value counts as the same.
    assert_eq!(store.put(&key, 0, vec![7], end).await.unwrap(), Written::Conflict);
    assert_eq!(store.put(&key, 1, vec![8], end).await.unwrap(), Written::Conflict);
    assert_eq!(store.get(&key).await.unwrap().unwrap().value, [7]);
}

async fn a_downstream_token_exists_only_beside_its_record(store: &dyn SessionStore, passage: &dyn Passage) {
    let end = after(passage, LIFE * 20);
    let id = SessionId::generate(&SystemRandom);
    let (record, downstream) = (StoreKey::Session(id), StoreKey::Downstream(id));
    let refused = store.put(&downstream, 0, vec![1], end).await.unwrap();
    assert_eq!(refused, Written::Conflict);
    store.put(&record, 0, vec![2], end).await.unwrap();
    let stored = store.put(&downstream, 0, vec![3], end).await.unwrap();
    assert_eq!(stored, Written::Stored);
    store.remove(&record).await.unwrap();
    assert_eq!(store.get(&downstream).await.unwrap(), None);
    let refused = store.put(&downstream, 0, vec![4], end).await.unwrap();
    assert_eq!(refused, Written::Conflict);
}

/// Returns all pages, without what a store lists twice.
async fn listed(store: &dyn SessionStore) -> BTreeMap<SessionId, Entry> {
    let (mut all, mut cursor) = (BTreeMap::new(), None);
    loop {
        let Page { entries, next } = store.session_page(cursor.as_deref()).await.unwrap();
        all.extend(entries);
        cursor = next;
        if cursor.is_none() {
            return all;
        }
    }
}

async fn every_session_is_listed_once_it_is_stored(store: &dyn SessionStore, passage: &dyn Passage) {
    let end = after(passage, LIFE * 20);
    let ids: Vec<_> = (0..250).map(|_| SessionId::generate(&SystemRandom)).collect();
    for id in &ids {
        let key = StoreKey::Session(*id);
        store
            .put(&key, 0, id.to_string().into_bytes(), end)
            .await
            .unwrap();
        // The renewal of a session is no session.
        store
            .put(&StoreKey::Renewal(*id), 0, Vec::new(), end)
            .await
            .unwrap();
    }
    let all = listed(store).await;
    for id in &ids {
        let expected = Entry {
            revision: 1,
            value: id.to_string().into_bytes(),
            expires_at: end,
        };
        assert_eq!(all.get(id), Some(&expected));
    }
    store.remove(&StoreKey::Session(ids[0])).await.unwrap();
    assert!(!listed(store).await.contains_key(&ids[0]));
}
