//! Revocations that an administrator declares, with three replicas over one store.

use std::time::Duration;

use axum::http::StatusCode;
use behalf_auth_sidecar::sessions::{SessionError, SessionId};
use behalf_auth_sidecar::store::{Entry, SessionStore as _, StoreKey};
use behalf_entra::{Clock as _, Secret};
use behalf_simulators::people::{ANA, BEN, Person};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::answer::Tokens;
use crate::fixture::{REDIRECT_URI, World};

/// Maximum time from the change of the file until it is in force.
const IN_FORCE: Duration = Duration::from_secs(2);

async fn world() -> World {
    World::start_replicas(3, |_| {}).await
}

/// The time of the world's clock, `seconds` later.
fn time(world: &World, seconds: i64) -> String {
    (world.clock.now() + SignedDuration::from_secs(seconds)).to_string()
}

fn one_user(person: Person, before: &str) -> Value {
    json!({"users": [{"id": person.object_id, "before": before}]})
}

/// Writes the file. Returns when open requests of this revoked session have ended in every replica.
async fn revoke(world: &World, revocations: &Value, revoked: &Tokens) {
    let mut opened = Vec::new();
    for replica in &world.replicas {
        let access = Secret::new(&*revoked.access);
        opened.push(replica.sessions.open(&access).await.unwrap());
    }
    world.write_revocations(revocations);
    for session in opened {
        timeout(IN_FORCE, session.ended()).await.expect("goes on");
    }
}

/// True if every replica accepts the access token, false if every replica refuses it.
async fn lives(world: &World, tokens: &Tokens) -> bool {
    let mut outcomes = Vec::new();
    for replica in &world.replicas {
        match replica.sessions.open(&Secret::new(&*tokens.access)).await {
            Ok(_) => outcomes.push(true),
            Err(SessionError::Invalid) => outcomes.push(false),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(outcomes.iter().all(|lives| *lives == outcomes[0]), "{outcomes:?}");
    outcomes[0]
}

#[tokio::test]
async fn a_revocation_of_everyone_ends_calls_refreshes_and_codes_of_earlier_logins() {
    let world = world().await;
    let (login, tokens) = world.session(ANA).await;
    let (other_login, other) = world.session(BEN).await;
    let code = world.login(ANA).await;
    revoke(&world, &json!({"before": time(&world, 1), "users": []}), &tokens).await;

    for (login, tokens) in [(&login, &tokens), (&other_login, &other)] {
        // Before any call: the refresh finds the record, and the rule refuses it.
        let refused = world.refresh(&login.client_id, &tokens.refresh, &[]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.json()["error"], "invalid_grant");
        assert!(!lives(&world, tokens).await);
    }
    let refused = world.redeem(&code, &[]).await;
    assert_eq!(refused.json()["error"], "invalid_grant");

    world.advance(1);
    let (_, later) = world.session(ANA).await;
    assert!(
        lives(&world, &later).await,
        "a login at the time itself is not earlier"
    );
}

#[tokio::test]
async fn a_revocation_of_one_user_leaves_the_others() {
    let world = world().await;
    let (_, ana) = world.session(ANA).await;
    let (_, ben) = world.session(BEN).await;
    revoke(&world, &one_user(ANA, &time(&world, 1)), &ana).await;
    assert!(!lives(&world, &ana).await);
    assert!(lives(&world, &ben).await);
}

#[tokio::test]
async fn a_silent_store_delays_neither_this_revocation_nor_the_next() {
    let world = world().await;
    let (_, ana) = world.session(ANA).await;
    let (_, ben) = world.session(BEN).await;
    world.store.hang_at_removals();
    revoke(&world, &one_user(ANA, &time(&world, 1)), &ana).await;
    revoke(&world, &one_user(BEN, &time(&world, 1)), &ben).await;
}

#[tokio::test]
async fn tokens_of_a_refresh_that_was_faster_than_the_revocation_are_refused() {
    let world = world().await;
    let (login, tokens) = world.session(ANA).await;
    world.advance(10);
    let renewed = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    // The login counts, not the time of the tokens.
    revoke(&world, &one_user(ANA, &time(&world, -5)), &tokens).await;
    assert!(!lives(&world, &renewed).await);
}

/// Puts an entry into the store with the same revision, as a restore of a backup does.
async fn restore(world: &World, key: &StoreKey, entry: &Entry) {
    for revision in 0..entry.revision {
        let value = entry.value.clone();
        world
            .store
            .put(key, revision, value, entry.expires_at)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_restored_store_does_not_undo_a_revocation() {
    let world = world().await;
    let (_, tokens) = world.session(ANA).await;
    let opened = world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap();
    let id: SessionId = opened.id;
    let key = StoreKey::Session(id);
    let entry = world.store.remove(&key).await.unwrap().unwrap();
    restore(&world, &key, &entry).await;
    assert!(lives(&world, &tokens).await, "the restore itself works");

    revoke(&world, &one_user(ANA, &time(&world, 1)), &tokens).await;
    assert!(!lives(&world, &tokens).await);
    assert!(
        world.store.get(&key).await.unwrap().is_none(),
        "a revoked session is removed"
    );
    restore(&world, &key, &entry).await;
    assert!(!lives(&world, &tokens).await);
}

/// The sessions that the store has.
async fn stored(world: &World) -> Vec<SessionId> {
    let page = world.store.session_page(None).await.unwrap();
    page.entries.into_iter().map(|(id, _)| id).collect()
}

#[tokio::test]
async fn revoked_sessions_that_nobody_uses_are_removed_and_stay_ended_without_their_entry() {
    let world = world().await;
    let (_, ana) = world.session(ANA).await;
    world.login(ANA).await;
    let (_, ben) = world.session(BEN).await;
    let opened = world.sessions.open(&Secret::new(&*ben.access)).await.unwrap();
    let bens = opened.id;
    drop(opened);
    assert_eq!(stored(&world).await.len(), 3);

    // The store is away when the file changes.
    world.store.set_broken(true);
    world.write_revocations(&one_user(ANA, &time(&world, 1)));
    while world.store.refusals() == 0 {
        tokio::task::yield_now().await;
    }
    world.store.set_broken(false);
    while stored(&world).await != [bens] {
        tokio::task::yield_now().await;
    }
    assert!(lives(&world, &ben).await);
    revoke(&world, &one_user(BEN, &time(&world, 1)), &ben).await;
    assert!(
        !lives(&world, &ana).await,
        "the file has no entry of this user any more"
    );
}

#[tokio::test]
async fn a_sidecar_that_starts_removes_the_sessions_that_were_revoked_before() {
    let world = world().await;
    let (_, tokens) = world.session(ANA).await;
    let opened = world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap();
    let key = StoreKey::Session(opened.id);
    drop(opened);
    let entry = world.store.remove(&key).await.unwrap().unwrap();
    restore(&world, &key, &entry).await;
    revoke(&world, &one_user(ANA, &time(&world, 1)), &tokens).await;
    while !stored(&world).await.is_empty() {
        tokio::task::yield_now().await;
    }
    restore(&world, &key, &entry).await;
    // The process begins to follow a file that it has loaded at its start.
    let sessions = &world.sessions;
    let removed = async {
        while !stored(&world).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = sessions.follow_revocations() => {}
        removed = timeout(IN_FORCE, removed) => removed.expect("the session stays in the store"),
    }
}

#[tokio::test]
async fn a_login_in_the_second_of_the_named_time_is_not_removed_by_mistake() {
    let world = world().await;
    // A summary has the whole second of a login alone.
    let half = SignedDuration::from_millis(500);
    let to_the_next_second = 1_000_000_000 - world.clock.now().subsec_nanosecond();
    world
        .clock
        .advance(SignedDuration::from_nanos(to_the_next_second.into()) + half);
    let (_, ana) = world.session(ANA).await;
    let (_, ben) = world.session(BEN).await;
    let second = world.clock.now() - half;
    let quarter = (second + SignedDuration::from_millis(250)).to_string();
    let revocations = json!({"users": [
        {"id": ANA.object_id, "before": quarter},
        {"id": BEN.object_id, "before": time(&world, 1)},
    ]});
    revoke(&world, &revocations, &ben).await;
    while stored(&world).await.len() > 1 {
        tokio::task::yield_now().await;
    }
    assert!(lives(&world, &ana).await);
}

#[tokio::test]
async fn a_time_in_the_future_refuses_logins_until_then_and_tells_the_client() {
    let world = world().await;
    let (_, tokens) = world.session(ANA).await;
    revoke(&world, &one_user(ANA, &time(&world, 600)), &tokens).await;

    let client_id = world.register(&[REDIRECT_URI]).await;
    let refused = world.sign_in(&client_id, ANA).await;
    assert_eq!(refused.code, None);
    assert_eq!(refused.error.as_deref(), Some("access_denied"));
    let description = refused.error_description.unwrap();
    assert!(description.contains("administrator"), "{description}");
    world.login(BEN).await;

    world.advance(600);
    world.login(ANA).await;
}
