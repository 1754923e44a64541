//! Several replicas with one store, where each request reaches another replica than the one before.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use behalf_auth_sidecar::sessions::{OpenSession, SessionError};
use behalf_auth_sidecar::store::Announcement;
use behalf_entra::Secret;
use behalf_simulators::entra::RequestKind;
use behalf_simulators::people::{ANA, BEN};
use tokio::time::{sleep, timeout};

use crate::fixture::{REDIRECT_URI, World};

async fn world() -> World {
    World::start_replicas(3, |config| {
        config.sessions.access_token_lifetime_seconds = 24 * 3600;
    })
    .await
}

/// Regression: state in one process: `fastmcp#2479`, `kmcp#108`, `toolhive#4531`, `toolhive#4402`, `agentgateway#754`,
/// `agentgateway#573`, `mcp-gateway-registry#960`, `altinity-mcp#113`, `MeshWeaver#5074`, `mcp-hangar#877`.
#[tokio::test]
async fn a_login_works_when_each_of_its_requests_reaches_another_replica() {
    let world = world().await;
    // A login has a number of requests that three does not divide, so that each round begins at another replica.
    for person in [ANA, BEN, ANA, BEN] {
        let (login, tokens) = world.session(person).await;
        let renewed = world
            .refresh(&login.client_id, &tokens.refresh, &[])
            .await
            .tokens();
        for replica in &world.replicas {
            let session = replica
                .sessions
                .open(&Secret::new(&*renewed.access))
                .await
                .unwrap();
            assert_eq!(session.user.oid, person.object_id);
        }
    }
}

#[tokio::test]
async fn a_code_is_redeemed_by_one_replica_alone() {
    let world = world().await;
    let login = world.login(ANA).await;
    let answers = futures::future::join_all((0..6).map(|_| world.redeem(&login, &[]))).await;
    let redeemed = answers.iter().filter(|answer| answer.status == StatusCode::OK);
    assert_eq!(redeemed.count(), 1);
}

#[tokio::test]
async fn a_session_that_one_replica_revoked_is_over_in_all() {
    let world = world().await;
    let (login, tokens) = world.session(ANA).await;
    let form = [
        ("token", tokens.refresh.as_str()),
        ("client_id", login.client_id.as_str()),
    ];
    assert_eq!(
        world.post_form("/revoke", &form, &[]).await.status,
        StatusCode::OK
    );
    for replica in &world.replicas {
        let opened = replica.sessions.open(&Secret::new(&*tokens.access)).await;
        assert!(matches!(opened, Err(SessionError::Invalid)), "{opened:?}");
    }
}

/// Signs in, opens the session at the first replica, and lets the second one revoke it.
async fn revoked_at_another_replica(world: &World) -> Arc<OpenSession> {
    let (login, tokens) = world.session(ANA).await;
    let access = Secret::new(&*tokens.access);
    let [first, second, ..] = &world.replicas[..] else {
        panic!("one replica")
    };
    let opened = first.sessions.open(&access).await.unwrap();
    second.sessions.revoke(&access, &login.client_id).await.unwrap();
    opened
}

#[tokio::test]
async fn open_streams_end_in_every_replica_when_one_revokes_the_session() {
    let world = world().await;
    let opened = revoked_at_another_replica(&world).await;
    timeout(Duration::from_secs(2), opened.ended()).await.unwrap();
}

/// A session that nobody ends, opened at the first replica.
async fn opened_session_of_ben(world: &World) -> Arc<OpenSession> {
    let (_, tokens) = world.session(BEN).await;
    let access = Secret::new(&*tokens.access);
    world.replicas[0].sessions.open(&access).await.unwrap()
}

#[tokio::test]
async fn a_replica_that_may_have_lost_announcements_looks_in_the_store() {
    let world = world().await;
    world.store.mute();
    let living = opened_session_of_ben(&world).await;
    let opened = revoked_at_another_replica(&world).await;
    let unheard = timeout(Duration::from_millis(200), opened.ended()).await;
    assert!(unheard.is_err(), "the announcement was not lost");

    world.store.announce(Announcement::Lost);
    timeout(Duration::from_secs(2), opened.ended()).await.unwrap();
    let other = timeout(Duration::from_millis(200), living.ended()).await;
    assert!(other.is_err(), "a session that lives was ended");
}

#[tokio::test]
async fn a_silently_lost_announcement_is_found_after_30_seconds() {
    let world = world().await;
    world.store.mute();
    let living = opened_session_of_ben(&world).await;
    let opened = revoked_at_another_replica(&world).await;
    // The rest waits for the clock alone: the store is in memory.
    tokio::time::pause();
    let looked = Duration::from_secs(32);
    timeout(looked, opened.ended()).await.expect("nobody looks");
    let other = timeout(looked, living.ended()).await;
    assert!(other.is_err(), "a session that lives was ended");
}

#[tokio::test]
async fn many_lost_announcements_cause_few_looks() {
    let world = world().await;
    let (_, tokens) = world.session(BEN).await;
    let _open = world.replicas[0]
        .sessions
        .open(&Secret::new(&*tokens.access))
        .await
        .unwrap();
    let before = world.store.session_reads();
    // The rest waits for the clock alone: the store is in memory.
    tokio::time::pause();
    for _ in 0..30 {
        world.store.announce(Announcement::Lost);
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.store.session_reads() - before, 1);
    // The later announcements are not forgotten.
    let looks_again = async {
        while world.store.session_reads() - before < 2 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), looks_again).await.unwrap();
}

#[tokio::test]
async fn streams_end_at_once_when_the_answer_to_a_removal_is_lost() {
    let world = world().await;
    let (login, tokens) = world.session(ANA).await;
    let access = Secret::new(&*tokens.access);
    let [first, second, ..] = &world.replicas[..] else {
        panic!("one replica")
    };
    let opened = [
        first.sessions.open(&access).await.unwrap(),
        second.sessions.open(&access).await.unwrap(),
    ];
    world.store.lose_removals(false);
    let revoked = second.sessions.revoke(&access, &login.client_id).await;
    assert!(revoked.is_err(), "the client tries again");
    for opened in opened {
        timeout(Duration::from_secs(2), opened.ended()).await.unwrap();
    }
}

#[tokio::test]
async fn a_grant_that_entra_revoked_is_found_after_a_lost_announcement() {
    let world = world().await;
    world.entra_tokens_live_an_hour().await;
    let control = world.entra.control();
    world.store.mute();
    let (_, tokens) = world.session(ANA).await;
    let access = Secret::new(&*tokens.access);
    let opened = world.replicas[0].sessions.open(&access).await.unwrap();
    control.revoke(ANA.user_name).await.unwrap();
    world.advance(3001);
    let sessions = &world.replicas[1].sessions;
    let session = sessions.open(&access).await.unwrap();
    let refused = sessions.user_token(&session).await;
    assert!(
        matches!(refused, Err(SessionError::SignInRequired)),
        "{refused:?}"
    );
    let unheard = timeout(Duration::from_millis(200), opened.ended()).await;
    assert!(unheard.is_err(), "the announcement was not lost");

    world.store.announce(Announcement::Lost);
    timeout(Duration::from_secs(2), opened.ended()).await.unwrap();
}

/// Regression: `toolhive#4122`, replicas that renewed one token at the same time.
#[tokio::test]
async fn a_hundred_calls_over_three_replicas_renew_the_entra_token_once() {
    let world = world().await;
    world.entra_tokens_live_an_hour().await;
    let control = world.entra.control();
    let (_, tokens) = world.session(ANA).await;
    world.advance(3001);
    let calls = (0..100).map(|call: usize| {
        let sessions = &world.replicas[call % world.replicas.len()].sessions;
        let access = Secret::new(&*tokens.access);
        async move {
            let session = sessions.open(&access).await.unwrap();
            sessions.user_token(&session).await.unwrap().access_token.clone()
        }
    });
    let renewed = futures::future::join_all(calls).await;
    assert!(
        renewed.iter().all(|token| *token == renewed[0]),
        "replicas use different tokens"
    );
    let refreshes = control.requests_of(RequestKind::RefreshToken).await.unwrap();
    assert_eq!(refreshes.len(), 1);
}

/// Regression: `fastmcp#4265`, `fastmcp#4264`, `claude-code#85236`, parallel refreshes that ended the session.
#[tokio::test]
async fn a_hundred_refreshes_of_one_token_over_three_replicas_all_get_usable_tokens() {
    let world = world().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let login = world.login_of(&client_id, ANA).await;
    let tokens = world.redeem(&login, &[]).await.tokens();
    let refreshes = (0..100).map(|_| world.refresh(&client_id, &tokens.refresh, &[]));
    for answer in futures::future::join_all(refreshes).await {
        let renewed = answer.tokens();
        let sessions = &world.replicas[0].sessions;
        sessions.open(&Secret::new(&*renewed.access)).await.unwrap();
    }
}
