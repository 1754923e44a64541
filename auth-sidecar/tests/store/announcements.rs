//! Replicas tell each other the end of a session through Redis.

use std::time::Duration;

use behalf_auth_sidecar::keys::SystemRandom;
use behalf_auth_sidecar::sessions::SessionId;
use behalf_auth_sidecar::store::{Announcement, RedisStore, SessionStore as _};
use behalf_contract::{ObjectIdentity, RedisTopology};
use rstest::rstest;
use tokio::sync::broadcast::Receiver;
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
    assert_eq!(next(&mut heard).await, Announcement::Lost);
    assert_eq!(next(&mut others).await, Announcement::Lost);

    let id = SessionId::generate(&SystemRandom);
    speaker.announce_end(&id).await.unwrap();
    assert_eq!(next(&mut heard).await, Announcement::SessionEnded(id));
    assert!(others.try_recv().is_err());
}

async fn next(announcements: &mut Receiver<Announcement>) -> Announcement {
    let announcement = timeout(Duration::from_secs(10), announcements.recv()).await;
    announcement.expect("nothing is announced").unwrap()
}

#[tokio::test]
async fn a_replica_that_lost_its_connection_is_told_that_it_missed_announcements() {
    let mut redis = RedisServer::start(&[]).await;
    let store = store_at(RedisTopology::Standalone, &[redis.endpoint()]);
    let mut heard = store.announcements().unwrap();
    store.report().await.unwrap();
    assert_eq!(next(&mut heard).await, Announcement::Lost);
    redis.kill();
    assert_eq!(
        next(&mut heard).await,
        Announcement::Lost,
        "when the connection ends"
    );
    redis.restart().await;
    let connects = async {
        while store.report().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), connects).await.unwrap();
    assert_eq!(
        next(&mut heard).await,
        Announcement::Lost,
        "when it is open again"
    );
}

/// The client of a cluster subscribes again by itself: no command of the store fails.
#[rstest]
#[tokio::test]
async fn a_replica_that_subscribed_again_at_a_node_is_told_that_it_missed_announcements(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let mut cluster = RedisCluster::start(program).await;
    let [speaker, listener] = [(); 2].map(|()| store_at(RedisTopology::Cluster, &[cluster.endpoint()]));
    let mut heard = listener.announcements().unwrap();
    listener.report().await.unwrap();
    assert_eq!(next(&mut heard).await, Announcement::Lost);
    let node = subscribed_node(&cluster).await;
    cluster.nodes[node].kill();
    assert_eq!(
        next(&mut heard).await,
        Announcement::Lost,
        "when the node is gone"
    );
    cluster.nodes[node].restart().await;
    assert_eq!(next(&mut heard).await, Announcement::Lost, "when it is back");

    let id = SessionId::generate(&SystemRandom);
    let announces = async {
        while speaker.announce_end(&id).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), announces).await.unwrap();
    while next(&mut heard).await != Announcement::SessionEnded(id) {}
}

/// The node at which a store is subscribed.
async fn subscribed_node(cluster: &RedisCluster) -> usize {
    for (place, node) in cluster.nodes.iter().enumerate() {
        let channels: Vec<String> = node.ask(&["PUBSUB", "CHANNELS"]).await.unwrap();
        if !channels.is_empty() {
            return place;
        }
    }
    panic!("no store is subscribed")
}
