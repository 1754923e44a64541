//! Every session store keeps the same promises. The suite in [`conformance`] runs against the memory store and against
//! Redis servers that the tests start: one alone, one with TLS and users, and a cluster of three.

mod conformance;
mod outage;
mod redis_server;
mod secured;

use std::sync::Arc;
use std::time::Duration;

use behalf_auth_sidecar::store::{MemoryLimits, MemoryStore};
use behalf_contract::RedisTopology;
use behalf_entra::{Clock, FixedClock, SystemClock};
use jiff::{SignedDuration, Timestamp};

use crate::conformance::{Passage, check_all};
use crate::redis_server::{RedisCluster, RedisServer, store_at};

/// Time that the test moves.
struct Moved(Arc<FixedClock>);

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
struct Real;

#[async_trait::async_trait]
impl Passage for Real {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[tokio::test]
async fn the_memory_store_keeps_the_promises_of_a_store() {
    let clock = Arc::new(FixedClock::new(Timestamp::UNIX_EPOCH));
    let store = MemoryStore::new(MemoryLimits::default(), Arc::clone(&clock) as Arc<dyn Clock>);
    check_all(&store, &Moved(clock)).await;
}

#[tokio::test]
async fn redis_keeps_the_promises_of_a_store() {
    let redis = RedisServer::start(&[]).await;
    let store = store_at(RedisTopology::Standalone, &[redis.endpoint()]);
    check_all(&store, &Real).await;
    redis.every_key_expires().await;
}

#[tokio::test]
async fn a_cluster_of_three_keeps_the_promises_of_a_store() {
    let cluster = RedisCluster::start().await;
    let store = store_at(RedisTopology::Cluster, &[cluster.endpoint()]);
    check_all(&store, &Real).await;
}
