//! Calls remember their session for a second, and each end of a session makes every replica forget it.

use std::sync::Arc;
use std::time::Duration;

use behalf_auth_sidecar::sessions::{OpenSession, SessionError};
use behalf_entra::{Clock as _, Secret};
use behalf_simulators::people::ANA;
use jiff::SignedDuration;
use serde_json::json;
use tokio::time::timeout;

use crate::answer::Tokens;
use crate::fixture::{Login, World};

/// Maximum time until the end of a session is in force in every replica.
const IN_FORCE: Duration = Duration::from_secs(2);

async fn world() -> World {
    World::start_replicas(3, |_| {}).await
}

async fn open(world: &World, replica: usize, tokens: &Tokens) -> Result<Arc<OpenSession>, SessionError> {
    let access = Secret::new(&*tokens.access);
    world.replicas[replica].sessions.open(&access).await
}

/// Opens the session in every replica, so that each remembers it.
async fn remembered(world: &World, tokens: &Tokens) -> Vec<Arc<OpenSession>> {
    let mut opened = Vec::new();
    for replica in 0..world.replicas.len() {
        opened.push(open(world, replica, tokens).await.unwrap());
    }
    opened
}

/// Waits until every replica has heard of the end. Each must then refuse the access token, within the same second.
async fn refused_everywhere(world: &World, tokens: &Tokens, opened: Vec<Arc<OpenSession>>) {
    for (replica, session) in opened.iter().enumerate() {
        timeout(IN_FORCE, session.ended()).await.expect("goes on");
        let again = open(world, replica, tokens).await;
        assert!(
            matches!(again, Err(SessionError::Invalid)),
            "{replica}: {again:?}"
        );
    }
}

async fn revoke(world: &World, login: &Login, token: &str) {
    let form = [("token", token), ("client_id", login.client_id.as_str())];
    let answer = world.post_form("/revoke", &form, &[]).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn calls_within_a_second_read_their_session_once() {
    let world = world().await;
    let (_, tokens) = world.session(ANA).await;
    // The timers stand still while this test has work to do.
    tokio::time::pause();
    let before = world.store.session_reads();
    for seconds in 1..4 {
        for _ in 0..10 {
            open(&world, 0, &tokens).await.unwrap();
        }
        assert_eq!(world.store.session_reads() - before, seconds);
        world.advance(1);
    }
}

#[tokio::test]
async fn an_outage_of_the_store_ends_what_is_remembered_after_a_second() {
    let world = world().await;
    let (_, tokens) = world.session(ANA).await;
    open(&world, 0, &tokens).await.unwrap();
    world.store.set_broken(true);
    world.advance(1);
    let refused = open(&world, 0, &tokens).await;
    assert!(
        matches!(refused, Err(SessionError::Unavailable { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_revoked_access_token_or_refresh_token_is_forgotten_everywhere() {
    let world = world().await;
    for is_access in [true, false] {
        let (login, tokens) = world.session(ANA).await;
        let opened = remembered(&world, &tokens).await;
        let token = if is_access {
            &tokens.access
        } else {
            &tokens.refresh
        };
        revoke(&world, &login, token).await;
        refused_everywhere(&world, &tokens, opened).await;
    }
}

#[tokio::test]
async fn the_session_of_a_reused_refresh_token_is_forgotten_everywhere() {
    let world = world().await;
    let (login, tokens) = world.session(ANA).await;
    let second = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    world
        .refresh(&login.client_id, &second.refresh, &[])
        .await
        .tokens();
    let opened = remembered(&world, &tokens).await;
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
    refused_everywhere(&world, &tokens, opened).await;
}

#[tokio::test]
async fn the_session_of_a_reused_code_is_forgotten_everywhere() {
    let world = world().await;
    let (login, tokens) = world.session(ANA).await;
    let opened = remembered(&world, &tokens).await;
    world.redeem(&login, &[]).await.assert_error(400, "invalid_grant");
    refused_everywhere(&world, &tokens, opened).await;
}

#[tokio::test]
async fn a_session_that_an_administrator_revoked_is_forgotten_everywhere() {
    let world = world().await;
    let (_, tokens) = world.session(ANA).await;
    let opened = remembered(&world, &tokens).await;
    let before = world.clock.now() + SignedDuration::from_secs(1);
    world.write_revocations(&json!({"users": [{"id": ANA.object_id, "before": before}]}));
    refused_everywhere(&world, &tokens, opened).await;
}

#[tokio::test]
async fn an_end_that_a_replica_does_not_hear_of_is_in_force_after_a_second() {
    let world = world().await;
    let (login, tokens) = world.session(ANA).await;
    let opened = remembered(&world, &tokens).await;
    world.store.mute();
    revoke(&world, &login, &tokens.access).await;
    world.advance(1);
    for replica in 0..opened.len() {
        let again = open(&world, replica, &tokens).await;
        assert!(
            matches!(again, Err(SessionError::Invalid)),
            "{replica}: {again:?}"
        );
    }
}

#[tokio::test]
async fn the_call_after_a_renewal_uses_the_new_user_token() {
    let world = world().await;
    world.entra_tokens_live_an_hour().await;
    let (_, tokens) = world.session(ANA).await;
    let sessions = &world.replicas[0].sessions;
    let opened = open(&world, 0, &tokens).await.unwrap();
    let old = sessions.user_token(&opened).await.unwrap();
    let new = sessions
        .renewed_user_token(&opened, &old.access_token)
        .await
        .unwrap();
    assert_ne!(new.access_token, old.access_token);
    let next = open(&world, 0, &tokens).await.unwrap();
    let used = sessions.user_token(&next).await.unwrap();
    assert_eq!(used.access_token, new.access_token);
}
