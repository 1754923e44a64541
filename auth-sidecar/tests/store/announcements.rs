//! Replicas tell each other the end of a session through Redis.

use std::time::Duration;

use behalf_auth_sidecar::keys::SystemRandom;
use behalf_auth_sidecar::sessions::SessionId;
use behalf_auth_sidecar::store::{Announcement, RedisStore, SessionStore as _};
use behalf_contract::{ObjectIdentity, RedisTopology};
use rstest::rstest;
use tokio::time::timeout;
use url::Url;

use crate::redis_server::{Program, RedisCluster, RedisServer, config, object, store_at};

#[rstest]
#[tokio::test]
async fn replicas_hear_of_the_end_of_a_session(#[values(Program::Redis, Program::Valkey)] program: Program) {
    let server = RedisServer::start_program(program, &[]).await;
    announced(RedisTopology::Standalone, &server.endpoint()).await;
}

#[rstest]
#[tokio::test]
async fn replicas_hear_of_the_end_of_a_session_through_a_cluster(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let cluster = RedisCluster::start(program).await;
    announced(RedisTopology::Cluster, &cluster.endpoint()).await;
}

/// A store receives the announcements of another store of its object, and none of another object's.
async fn announced(topology: RedisTopology, endpoint: &Url) {
    let [speaker, listener] = [(); 2].map(|()| store_at(topology, std::slice::from_ref(endpoint)));
    let other = ObjectIdentity {
        name: "other".to_owned(),
        ..object()
    };
    let other = RedisStore::new(&config(topology, std::slice::from_ref(endpoint)), &other, None).unwrap();
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
