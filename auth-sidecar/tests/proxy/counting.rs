//! Logins of different users do not wait for each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use behalf_auth_sidecar::sessions::SessionId;
use behalf_auth_sidecar::store::{
    Announcement, Entry, MemoryLimits, MemoryStore, Page, SessionStore, StoreError, StoreKey, StoreReport,
    Written,
};
use behalf_contract::ExchangePlace::Sidecar;
use behalf_contract::Injection::None as Nothing;
use behalf_entra::SystemClock;
use behalf_simulators::people::BEN;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use crate::world::World;

/// A store that never answers the first read of a user's list of sessions.
struct SilentOnce {
    store: MemoryStore,
    is_silent: AtomicBool,
    asked: Notify,
}

#[async_trait]
impl SessionStore for SilentOnce {
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        if matches!(key, StoreKey::User(_)) && !self.is_silent.swap(true, Ordering::SeqCst) {
            self.asked.notify_one();
            std::future::pending::<()>().await;
        }
        self.store.get(key).await
    }

    async fn put(
        &self,
        key: &StoreKey,
        expected: u64,
        value: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<Written, StoreError> {
        self.store.put(key, expected, value, expires_at).await
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<(), StoreError> {
        self.store.touch(key, expires_at).await
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        self.store.remove(key).await
    }

    async fn session_page(&self, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.store.session_page(cursor).await
    }

    async fn announce_end(&self, id: &SessionId) -> Result<(), StoreError> {
        self.store.announce_end(id).await
    }

    fn announcements(&self) -> Option<Receiver<Announcement>> {
        self.store.announcements()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }

    async fn report(&self) -> Result<StoreReport, StoreError> {
        self.store.report().await
    }
}

#[tokio::test]
async fn a_login_that_waits_for_the_store_does_not_block_other_users() {
    let world = World::start().await;
    let store = Arc::new(SilentOnce {
        store: MemoryStore::new(MemoryLimits::default(), Arc::new(SystemClock)),
        is_silent: AtomicBool::new(false),
        asked: Notify::new(),
    });
    let sidecar = world.sidecar_with_store(world.config(Sidecar, Nothing), Arc::clone(&store) as _);
    let hanging = sidecar.sign_in(&world);
    tokio::select! {
        _ = hanging => panic!("the store does not answer"),
        () = async {
            store.asked.notified().await;
            timeout(Duration::from_secs(10), sidecar.sign_in_as(&world, BEN))
                .await
                .expect("another user signs in meanwhile");
        } => {}
    }
}
