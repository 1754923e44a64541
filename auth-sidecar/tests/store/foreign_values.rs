//! Values that somebody else wrote into the keys of this object.

use behalf_auth_sidecar::keys::SystemRandom;
use behalf_auth_sidecar::sessions::SessionId;
use behalf_auth_sidecar::store::{SessionStore as _, StoreError, StoreKey, Written};
use behalf_contract::RedisTopology;
use behalf_entra::{Clock as _, SystemClock};
use jiff::SignedDuration;
use rstest::rstest;

use crate::redis_server::{Program, RedisServer, store_at};

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

#[rstest]
#[tokio::test]
async fn a_key_of_another_type_does_not_concern_other_keys(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let server = RedisServer::start_program(program, &[]).await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    let end = SystemClock.now() + SignedDuration::from_mins(1);
    store.put(&OTHER, 0, vec![1], end).await.unwrap();
    server.ask::<()>(&["SET", NAME, "text"]).await.unwrap();
    let connections = server.connections_received().await;
    for _ in 0..10 {
        let read = store.get(&KEY).await;
        assert!(matches!(read, Err(StoreError::Foreign(_))), "{read:?}");
        let written = store.put(&KEY, 0, vec![1], end).await;
        assert!(matches!(written, Err(StoreError::Foreign(_))), "{written:?}");
        assert!(store.get(&OTHER).await.unwrap().is_some());
    }
    // The look itself is one.
    assert_eq!(server.connections_received().await, connections + 1);
}

/// One entry of another program would otherwise keep every revoked session in the store.
#[rstest]
#[tokio::test]
async fn entries_of_another_program_do_not_end_the_list_of_sessions(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let server = RedisServer::start_program(program, &[]).await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    let end = SystemClock.now() + SignedDuration::from_mins(1);
    let [session, text, numberless] = [(); 3].map(|()| SessionId::generate(&SystemRandom));
    store
        .put(&StoreKey::Session(session), 0, vec![1], end)
        .await
        .unwrap();
    let name = |id: SessionId| format!("behalf:mcp/azure-devops:{{{id}}}:session");
    server.ask::<()>(&["SET", &name(text), "text"]).await.unwrap();
    server
        .ask::<()>(&["HSET", &name(numberless), "revision", "many", "value", "text"])
        .await
        .unwrap();
    let names: Vec<String> = server.ask(&["KEYS", "*:session"]).await.unwrap();
    assert_eq!(names.len(), 3, "{names:?}");

    let (mut listed, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.session_page(cursor.as_deref()).await.unwrap();
        listed.extend(page.entries.into_iter().map(|(id, _)| id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, [session]);
}
