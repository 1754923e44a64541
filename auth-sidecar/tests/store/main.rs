//! Every session store keeps the same promises. The suite in [`conformance`] runs against the memory store and against
//! Redis servers that the tests start: one alone, one with TLS and users, and a cluster of three.

// `cfg(test)` tells the lints that the helpers are test code, too.
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod redis_server;
#[cfg(test)]
mod secured;

use std::sync::Arc;
use std::time::Duration;

use behalf_auth_sidecar::keys::SystemRandom;
use behalf_auth_sidecar::sessions::SessionId;
use behalf_auth_sidecar::store::{Announcement, MemoryLimits, MemoryStore, RedisStore, SessionStore as _};
use behalf_contract::{ObjectIdentity, RedisTopology};
use behalf_entra::{Clock, FixedClock};
use jiff::Timestamp;
use tokio::time::timeout;
use url::Url;

use crate::conformance::{Moved, Real, check_all};
use crate::redis_server::{RedisCluster, RedisServer, config, object, store_at};

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

#[tokio::test]
async fn replicas_hear_of_the_end_of_a_session() {
    let redis = RedisServer::start(&[]).await;
    announced(RedisTopology::Standalone, &redis.endpoint()).await;
}

#[tokio::test]
async fn replicas_hear_of_the_end_of_a_session_through_a_cluster() {
    let cluster = RedisCluster::start().await;
    announced(RedisTopology::Cluster, &cluster.endpoint()).await;
}

/// What one store announces, another one of the same object hears, and one of another object does not.
async fn announced(topology: RedisTopology, endpoint: &Url) {
    let [speaker, listener] = [(); 2].map(|()| store_at(topology, std::slice::from_ref(endpoint)));
    let other = ObjectIdentity {
        name: "other".to_owned(),
        ..object()
    };
    let other = RedisStore::new(&config(topology, std::slice::from_ref(endpoint)), &other).unwrap();
    let mut heard = listener.announcements().unwrap();
    let mut others = other.announcements().unwrap();
    // Connecting subscribes.
    listener.report().await.unwrap();
    other.report().await.unwrap();
    assert_eq!(heard.try_recv().unwrap(), Announcement::Lost);
    assert_eq!(others.try_recv().unwrap(), Announcement::Lost);

    let id = SessionId::generate(&SystemRandom);
    speaker.announce_end(&id).await.unwrap();
    let announcement = timeout(Duration::from_secs(5), heard.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(announcement, Announcement::SessionEnded(id));
    assert!(others.try_recv().is_err());
}

#[tokio::test]
async fn a_replica_that_lost_its_connection_is_told_that_it_missed_announcements() {
    let mut redis = RedisServer::start(&[]).await;
    let store = store_at(RedisTopology::Standalone, &[redis.endpoint()]);
    let mut heard = store.announcements().unwrap();
    store.report().await.unwrap();
    assert_eq!(heard.try_recv().unwrap(), Announcement::Lost);
    redis.kill();
    let announcement = timeout(Duration::from_secs(5), heard.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(announcement, Announcement::Lost, "when the connection ends");
    redis.restart().await;
    let connects = async {
        while store.report().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), connects).await.unwrap();
    let announcement = timeout(Duration::from_secs(5), heard.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(announcement, Announcement::Lost, "when it is open again");
}
