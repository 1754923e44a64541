//! A Redis that is away, restarts or has no memory left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use behalf_auth_sidecar::store::{RedisStore, SessionStore, StoreError, StoreKey, Written};
use behalf_contract::RedisTopology;
use behalf_entra::{Clock as _, SystemClock};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use crate::captured_log::CapturedLog;
use crate::redis_server::{Program, RedisServer, free_port, store_at};

const KEY: StoreKey = StoreKey::User([1; 32]);

fn in_a_minute() -> Timestamp {
    SystemClock.now() + SignedDuration::from_mins(1)
}

#[tokio::test]
async fn a_store_that_is_away_at_the_start_is_used_when_it_comes() {
    let port = free_port();
    let mut away = RedisServer::start_at(Program::Redis, port, &[]);
    away.kill();
    let store = store_at(RedisTopology::Standalone, &[away.endpoint()]);
    let refused = store.get(&KEY).await;
    assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
    assert!(store.report().await.is_err());
    away.restart().await;
    eventually_stored(&store, 0).await;
}

#[tokio::test]
async fn a_restarted_server_is_found_again_without_a_restart_of_ours() {
    let mut server = RedisServer::start(&[]).await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    store.put(&KEY, 0, vec![1], in_a_minute()).await.unwrap();
    server.kill();
    let began = Instant::now();
    for _ in 0..20 {
        let refused = store.get(&KEY).await;
        assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
    }
    // Callers do not wait one after the other for a server that is away.
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "20 calls took {:?}",
        began.elapsed()
    );
    server.restart().await;
    eventually_stored(&store, 0).await;
}

#[tokio::test]
async fn calls_wait_for_a_server_that_restarts() {
    let mut server = RedisServer::start(&[]).await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    store.put(&KEY, 0, vec![1], in_a_minute()).await.unwrap();
    server.kill();
    let restart = async {
        sleep(Duration::from_secs(2)).await;
        server.restart().await;
    };
    let calls = join_all((0..20).map(|_| store.put(&KEY, 0, vec![2], in_a_minute())));
    let ((), written) = tokio::join!(restart, calls);
    // This server keeps nothing over its restart, and a write that arrives twice counts as stored.
    for written in written {
        assert!(matches!(written, Ok(Written::Stored)), "{written:?}");
    }
}

/// A way to a Redis that can lose the next answer: it then closes the connection instead of delivering it.
async fn losing_way(server: &RedisServer) -> (Url, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = format!("redis://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let server = server.endpoint();
    let loses = Arc::<AtomicBool>::default();
    let is_lost = Arc::clone(&loses);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let address = (server.host_str().unwrap(), server.port().unwrap());
            let mut redis = TcpStream::connect(address).await.unwrap();
            let is_lost = Arc::clone(&is_lost);
            tokio::spawn(async move {
                let (mut request, mut answer) = ([0; 4096], [0; 4096]);
                loop {
                    tokio::select! {
                        Ok(length @ 1..) = client.read(&mut request) => redis.write_all(&request[..length]).await.unwrap(),
                        Ok(length @ 1..) = redis.read(&mut answer) => {
                            if is_lost.swap(false, Ordering::Relaxed) {
                                return;
                            }
                            client.write_all(&answer[..length]).await.unwrap();
                        }
                        else => return,
                    }
                }
            });
        }
    });
    (way, loses)
}

#[tokio::test]
async fn a_removal_whose_answer_is_lost_is_not_called_one_of_nothing() {
    let server = RedisServer::start(&[]).await;
    let (way, loses) = losing_way(&server).await;
    let store = store_at(RedisTopology::Standalone, &[way]);
    store.put(&KEY, 0, vec![1], in_a_minute()).await.unwrap();
    loses.store(true, Ordering::Relaxed);
    let taken = store.remove(&KEY).await;
    assert!(matches!(taken, Err(StoreError::MayBeRemoved)), "{taken:?}");
    assert!(matches!(store.remove(&KEY).await, Ok(None)), "it was removed");
}

/// As a server with a full disk does, or a shard of a cluster that is down.
#[tokio::test]
async fn a_command_that_redis_refuses_while_it_answers_others_does_not_wait() {
    let rights = ["--user", "default", "on", "nopass", "~*", "&*", "+@all", "-hset"];
    let server = RedisServer::start(&rights).await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    // On a busy machine a write may wait, because no read comes between its pauses.
    let mut took = Vec::new();
    while took.len() < 3 {
        took.push(three_refused_writes(&store).await);
        // Three writes that wait take 15 s.
        if took.last() < Some(&Duration::from_secs(12)) {
            return;
        }
    }
    panic!("the writes waited each time: {took:?}");
}

/// The time of three writes while others read.
async fn three_refused_writes(store: &RedisStore) -> Duration {
    // Readers that begin one after the other: some of them come when the pause after a refused write has just ended.
    let reads = join_all((0..8).map(async |number| {
        sleep(Duration::from_millis(13 * number)).await;
        loop {
            // A read during the pause after a refused write fails, too.
            let _ = store.get(&KEY).await;
            sleep(Duration::from_millis(5)).await;
        }
    }));
    let began = Instant::now();
    let writes = async {
        for _ in 0..3 {
            let refused = store.put(&KEY, 0, vec![1], in_a_minute()).await;
            assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
        }
    };
    tokio::select! {
        _ = reads => {}
        () = writes => {}
    }
    began.elapsed()
}

#[tokio::test]
async fn a_full_server_is_full_and_keeps_its_entries() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]).await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    store.put(&KEY, 0, vec![1], in_a_minute()).await.unwrap();
    server
        .ask::<()>(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();
    let refused = store
        .put(&StoreKey::User([2; 32]), 0, vec![1], in_a_minute())
        .await;
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    assert!(store.get(&KEY).await.unwrap().is_some());
}

/// A server that loads its data accepts connections and refuses every command.
#[tokio::test]
async fn a_server_that_refuses_every_command_is_not_asked_without_a_pause() {
    let server = RedisServer::start(&[
        "--user",
        "default",
        "on",
        "nopass",
        "allchannels",
        "-@all",
        "+@connection",
        "+@pubsub",
        "+acl",
        "+info",
    ])
    .await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    // The first call waits at the beginning of the outage.
    let refused = store.get(&KEY).await;
    assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
    let end = Instant::now() + Duration::from_secs(3);
    let mut calls = 0;
    while Instant::now() < end {
        let refused = store.get(&KEY).await;
        assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
        calls += 1;
        sleep(Duration::from_millis(5)).await;
    }
    let connections = server.connections_received().await;
    assert!(
        calls > 100 && connections < 20,
        "{calls} calls, {connections} connections"
    );
}

#[tokio::test]
async fn an_outage_is_one_line_with_its_cause_and_one_at_its_end() {
    let log = CapturedLog::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let mut server = RedisServer::start(&[]).await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    store.put(&KEY, 0, vec![1], in_a_minute()).await.unwrap();
    server.kill();
    for _ in 0..50 {
        assert!(store.get(&KEY).await.is_err());
        assert!(store.put(&KEY, 1, vec![1], in_a_minute()).await.is_err());
    }
    server.restart().await;
    eventually_stored(&store, 0).await;
    store.get(&KEY).await.unwrap();
    let text = log.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains("WARN") && lines[0].contains("Connection refused"),
        "{text}"
    );
    assert!(lines[1].contains("INFO") && lines[1].contains("again"), "{text}");
}

#[tokio::test]
async fn a_policy_that_evicts_is_reported() {
    let server = RedisServer::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    let store = store_at(RedisTopology::Standalone, &[server.endpoint()]);
    let report = store.report().await.unwrap();
    assert_eq!(report.eviction_policy.as_deref(), Some("allkeys-lru"));
    server
        .ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await
        .unwrap();
    let report = store.report().await.unwrap();
    assert_eq!(report.eviction_policy.as_deref(), Some("noeviction"));
}

async fn eventually_stored(store: &dyn SessionStore, expected: u64) {
    let stored = async {
        while !matches!(
            store.put(&KEY, expected, vec![2], in_a_minute()).await,
            Ok(Written::Stored)
        ) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(20), stored)
        .await
        .expect("the server that came back was not used");
}
