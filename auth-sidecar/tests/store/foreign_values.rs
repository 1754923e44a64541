//! Values that somebody else wrote into the keys of this object.

use behalf_auth_sidecar::store::{SessionStore as _, StoreKey, Written};
use behalf_contract::RedisTopology;
use behalf_entra::{Clock as _, SystemClock};
use jiff::SignedDuration;

use crate::redis_server::{RedisServer, store_at};

const KEY: StoreKey = StoreKey::User([1; 32]);
const OTHER: StoreKey = StoreKey::User([2; 32]);
const NAME: &str = "behalf:mcp/azure-devops:{AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE}:user";

#[tokio::test]
async fn a_value_without_a_bound_is_not_read_and_can_be_replaced() {
    let server = RedisServer::start(&[]).await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    let end = SystemClock.now() + SignedDuration::from_mins(1);
    store.put(&KEY, 0, vec![1], end).await.unwrap();
    let huge = "x".repeat(64 * 1024 + 1);
    server.ask::<()>(&["HSET", NAME, "value", &huge]).await.unwrap();
    let read = store.get(&KEY).await.unwrap().unwrap();
    assert_eq!((read.revision, read.value.len()), (1, 0));
    assert_eq!(store.put(&KEY, 1, vec![2], end).await.unwrap(), Written::Stored);
    assert_eq!(store.get(&KEY).await.unwrap().unwrap().value, [2]);

    server
        .ask::<()>(&["HSET", NAME, "revision", &huge])
        .await
        .unwrap();
    assert_eq!(store.get(&KEY).await.unwrap(), None);
}

#[tokio::test]
async fn a_key_of_another_type_does_not_concern_other_keys() {
    let server = RedisServer::start(&[]).await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    let end = SystemClock.now() + SignedDuration::from_mins(1);
    store.put(&OTHER, 0, vec![1], end).await.unwrap();
    server.ask::<()>(&["SET", NAME, "text"]).await.unwrap();
    let connections = server.connections_received().await;
    for _ in 0..10 {
        assert!(store.get(&KEY).await.is_err());
        assert!(store.put(&KEY, 0, vec![1], end).await.is_err());
        assert!(store.get(&OTHER).await.unwrap().is_some());
    }
    // The look itself is one.
    assert_eq!(server.connections_received().await, connections + 1);
}
