//! Answers to clients while Redis is away.

use std::sync::Arc;

use axum::http::StatusCode;
use behalf_contract::ExchangePlace::Sidecar as InSidecar;
use behalf_contract::Injection::Header;
use behalf_contract::RedisTopology;

use crate::redis_server::{RedisServer, store_at};
use crate::world::{World, call};

#[tokio::test]
async fn calls_get_503_with_retry_after_while_redis_is_away_and_the_session_goes_on() {
    let world = World::start().await;
    let mut redis = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let store = store_at(RedisTopology::Standalone, &[redis.endpoint()]);
    let sidecar = world.sidecar_with_store(world.config(InSidecar, Header), Arc::new(store));
    let login = sidecar.sign_in(&world).await;
    redis.kill();

    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers();
    assert!(headers.contains_key("retry-after"), "{headers:?}");
    assert!(!headers.contains_key("www-authenticate"), "clients would sign in");
    assert!(world.server.received().is_empty());

    redis.restart().await;
    let status = loop {
        match sidecar.post(&login, &call()).await.status() {
            StatusCode::SERVICE_UNAVAILABLE => tokio::task::yield_now().await,
            status => break status,
        }
    };
    assert_eq!(status, StatusCode::OK, "with the same token");
}
