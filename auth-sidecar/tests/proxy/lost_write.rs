//! A fail-over of Redis that loses the last write of a session.

use std::sync::Arc;

use axum::http::StatusCode;
use behalf_auth_sidecar::sessions::{DeadGrant, GrantError};
use behalf_contract::ExchangePlace::Sidecar as InSidecar;
use behalf_contract::Injection::Header;
use behalf_contract::RedisTopology;
use rstest::rstest;

use crate::redis_failover::RedisPair;
use crate::redis_server::{Program, store_at};
use crate::world::{CLIENT, Login, World, call};

#[rstest]
#[tokio::test]
async fn a_refresh_token_of_the_next_generation_proves_a_lost_write_and_is_adopted(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let (world, mut redis) = (World::start().await, RedisPair::start(program).await);
    let [first, second, third] = [(); 3].map(|()| {
        let store = store_at(RedisTopology::Standalone, &[redis.endpoint()]);
        world.sidecar_with_store(world.config(InSidecar, Header), Arc::new(store))
    });
    let login = first.sign_in(&world).await;
    redis.separate().await;
    let lost = second
        .sessions
        .refresh(&login.refresh_token, CLIENT, None, None)
        .await
        .unwrap();
    redis.fail_over();

    // The client has the second generation, and the store has the first.
    let adopted = loop {
        match third
            .sessions
            .refresh(&lost.refresh_token, CLIENT, None, None)
            .await
        {
            Err(GrantError::Unavailable(_)) => tokio::task::yield_now().await,
            other => break other.unwrap(),
        }
    };
    let now = Login {
        access_token: adopted.access_token.expose().to_owned(),
        refresh_token: adopted.refresh_token,
        at_entra: login.at_entra.clone(),
    };
    for replica in [&first, &second, &third] {
        // A replica that finds its connection closed answers 503 once.
        let mut status = replica.post(&now, &call()).await.status();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            status = replica.post(&now, &call()).await.status();
        }
        assert_eq!(status, StatusCode::OK);
    }
    let next = first
        .sessions
        .refresh(&now.refresh_token, CLIENT, None, None)
        .await;
    assert!(next.is_ok(), "the family goes on");
    let stolen = second
        .sessions
        .refresh(&login.refresh_token, CLIENT, None, None)
        .await;
    assert!(
        matches!(stolen, Err(GrantError::Dead(DeadGrant::Reused))),
        "{stolen:?}"
    );
}
