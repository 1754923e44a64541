//! Measures the operations of a store over the network, for metrics and traces.

use std::sync::Arc;

use async_trait::async_trait;
use behalf_runtime::trace;
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::{
    Announcement, Entry, Page, SessionStore, StoreError, StoreKey, StoreReport, StoreUsage, Written,
};
use crate::session_id::SessionId;
use crate::telemetry::metrics::Metrics;

/// A store whose reads and writes are measured. They take one round trip each.
pub(crate) struct ObservedStore {
    store: Arc<dyn SessionStore>,
    metrics: Arc<Metrics>,
}

impl ObservedStore {
    /// Returns `store`, measured if it is over the network.
    pub(crate) fn of(store: Arc<dyn SessionStore>, metrics: Arc<Metrics>) -> Arc<dyn SessionStore> {
        // Only a store of this process knows its size.
        if store.usage().is_some() {
            return store;
        }
        Arc::new(Self { store, metrics })
    }

    async fn observe<T>(
        &self,
        operation: &'static str,
        run: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut span = trace::current().map(|trace| trace.child("store"));
        let began = Instant::now();
        let result = run.await;
        let seconds = began.elapsed().as_secs_f64();
        self.metrics.store_operation(operation, result.is_ok(), seconds);
        if let Some(span) = &mut span {
            span.set("db.system.name", "redis");
            span.set("db.operation.name", operation);
            if let Err(error) = &result {
                span.fail(error.kind());
            }
        }
        result
    }
}

#[async_trait]
impl SessionStore for ObservedStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        self.observe("get", self.store.get(key)).await
    }

    async fn put(
        &self,
        key: &StoreKey,
        expected: u64,
        value: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<Written, StoreError> {
        let put = self.store.put(key, expected, value, expires_at);
        self.observe("put", put).await
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<(), StoreError> {
        self.observe("touch", self.store.touch(key, expires_at)).await
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        self.observe("remove", self.store.remove(key)).await
    }

    async fn session_page(&self, cursor: Option<&str>) -> Result<Page, StoreError> {
        self.store.session_page(cursor).await
    }

    async fn announce_end(&self, id: &SessionId) -> Result<(), StoreError> {
        self.store.announce_end(id).await
    }

    fn announcements(&self) -> Option<broadcast::Receiver<Announcement>> {
        self.store.announcements()
    }

    /// The readiness probe is counted, so the alert also has data without calls.
    async fn ping(&self) -> Result<(), StoreError> {
        self.observe("ping", self.store.ping()).await
    }

    async fn report(&self) -> Result<StoreReport, StoreError> {
        self.store.report().await
    }

    fn usage(&self) -> Option<StoreUsage> {
        self.store.usage()
    }
}
