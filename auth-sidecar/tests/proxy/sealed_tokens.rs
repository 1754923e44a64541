//! The user's tokens are sealed apart from the rest of the record (ADR 0059).

use std::sync::Arc;

use axum::http::StatusCode;
use behalf_contract::ExchangePlace::{Server as InServer, Sidecar as InSidecar};
use behalf_contract::Injection::Header;
use behalf_contract::RedisTopology;
use jiff::SignedDuration;

use crate::redis_server::{RedisServer, store_at};
use crate::world::{World, call};

/// Changes the last byte of a session's value. The value ends with the tokens.
const CHANGE: &str = "local value = redis.call('HGET', KEYS[1], 'value') \
    local last = string.char((string.byte(value, -1) + 1) % 256) \
    return redis.call('HSET', KEYS[1], 'value', string.sub(value, 1, -2) .. last)";

async fn change_tokens(redis: &RedisServer) {
    let names: Vec<String> = redis.ask(&["KEYS", "*:session"]).await.unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
    let _: i64 = redis.ask(&["EVAL", CHANGE, "1", &names[0]]).await.unwrap();
}

#[tokio::test]
async fn a_call_with_a_cached_downstream_token_opens_no_token_of_the_user() {
    let (world, redis) = (World::start().await, RedisServer::start(&[]).await);
    let store = store_at(RedisTopology::Standalone, &[redis.endpoint()]);
    let sidecar = world.sidecar_with_store(world.config(InSidecar, Header), Arc::new(store));
    let login = sidecar.sign_in(&world).await;
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
    change_tokens(&redis).await;
    world.clock.advance(SignedDuration::from_secs(2));
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn changed_tokens_refuse_the_session_where_they_are_needed() {
    let (world, redis) = (World::start().await, RedisServer::start(&[]).await);
    let store = store_at(RedisTopology::Standalone, &[redis.endpoint()]);
    let store = Arc::new(store);
    for at in [InSidecar, InServer] {
        let sidecar = world.sidecar_with_store(world.config(at, Header), store.clone());
        let login = sidecar.sign_in(&world).await;
        change_tokens(&redis).await;
        let status = sidecar.post(&login, &call()).await.status();
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{at:?}");
        let _: String = redis.ask(&["FLUSHALL"]).await.unwrap();
    }
}
