//! Every session store keeps the same promises. The suite in [`conformance`] runs against the memory store and against
//! servers of Redis and Valkey that the tests start: one alone, one with TLS and users, and a cluster of three.

// `cfg(test)` tells the lints that the helpers are test code, too.
#[cfg(test)]
mod announcements;
#[cfg(test)]
#[path = "../support/captured_log.rs"]
mod captured_log;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod entra;
#[cfg(test)]
mod foreign_values;
#[cfg(test)]
mod outage;
#[cfg(test)]
#[path = "../support/redis_entra_checker.rs"]
mod redis_entra_checker;
#[cfg(test)]
#[path = "../support/redis_failover.rs"]
mod redis_failover;
#[cfg(test)]
#[path = "../support/redis_server.rs"]
mod redis_server;
#[cfg(test)]
mod secured;

use std::sync::Arc;

use behalf_auth_sidecar::store::{MemoryLimits, MemoryStore, SessionStore, StoreKey, Written};
use behalf_contract::RedisTopology;
use behalf_entra::{Clock, FixedClock};
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;

use crate::conformance::{Moved, Passage as _, Real, check_all};
use crate::redis_failover::RedisPair;
use crate::redis_server::{Program, RedisCluster, RedisServer, store_at};

#[tokio::test]
async fn the_memory_store_keeps_the_promises_of_a_store() {
    let clock = Arc::new(FixedClock::new(Timestamp::UNIX_EPOCH));
    let store = MemoryStore::new(MemoryLimits::default(), Arc::clone(&clock) as Arc<dyn Clock>);
    check_all(&store, &Moved(clock)).await;
}

#[rstest]
#[tokio::test]
async fn a_server_keeps_the_promises_of_a_store(#[values(Program::Redis, Program::Valkey)] program: Program) {
    let server = RedisServer::start_program(program, &[]).await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    check_all(&store, &Real).await;
    server.every_key_expires().await;
    let report = store.report().await.unwrap();
    assert_eq!(report.eviction_policy.as_deref(), Some("noeviction"));
}

#[rstest]
#[tokio::test]
async fn a_restarted_server_keeps_the_promises_of_a_store(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let mut server = RedisServer::start_program(program, &[]).await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    store.report().await.unwrap();
    server.kill();
    server.restart().await;
    answers_again(&store).await;
    check_all(&store, &Real).await;
}

#[rstest]
#[tokio::test]
async fn a_promoted_replica_keeps_the_promises_of_a_store(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let mut pair = RedisPair::start(program).await;
    let store = store_at(RedisTopology::Standalone, &[pair.endpoint()]);
    let (copied, lost) = (StoreKey::User([201; 32]), StoreKey::User([202; 32]));
    let end = Real.now() + SignedDuration::from_mins(5);
    store.put(&copied, 0, vec![1], end).await.unwrap();
    pair.separate().await;
    // The primary answers, and its replica never gets the write.
    assert_eq!(store.put(&lost, 0, vec![1], end).await.unwrap(), Written::Stored);
    assert!(store.get(&lost).await.unwrap().is_some());
    pair.fail_over();
    answers_again(&store).await;
    assert!(store.get(&copied).await.unwrap().is_some());
    assert_eq!(store.get(&lost).await.unwrap(), None);
    check_all(&store, &Real).await;
}

/// Waits until the store has found out that its connection is closed, and has opened another one.
async fn answers_again(store: &dyn SessionStore) {
    while store.ping().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[rstest]
#[tokio::test]
async fn a_cluster_of_three_keeps_the_promises_of_a_store(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let cluster = RedisCluster::start(program).await;
    let store = store_at(RedisTopology::Cluster, &[cluster.endpoint()]);
    check_all(&store, &Real).await;
}
