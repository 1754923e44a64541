//! The lines of refreshed and ended sessions.

use behalf_entra::{Clock as _, Secret};
use behalf_simulators::people::ANA;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::answer::Tokens;
use crate::fixture::{Login, World};
use crate::lines::{listen, take, take_one};
use crate::logins::label;

/// The id of the session of this access token.
async fn session_of(world: &World, access_token: &str) -> String {
    let session = world.sessions.open(&Secret::new(access_token)).await;
    session.unwrap().id.to_string()
}

/// A session of Ana, with its id, in a world whose audit log is read.
async fn signed_in() -> (World, Login, Tokens, String) {
    listen();
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let session = session_of(&world, &tokens.access).await;
    (world, login, tokens, session)
}

#[tokio::test]
async fn a_refresh_names_user_client_and_session() {
    let (world, login, tokens, session) = signed_in().await;
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    let expected = json!({
        "event.action": "token_refresh",
        "event.outcome": "success",
        "user.id": ANA.object_id,
        "client.id": label(&login.client_id),
        "session.id": session,
    });
    assert_eq!(take_one("token_refresh"), expected);
}

#[tokio::test]
async fn a_session_that_its_client_revokes_has_one_line() {
    let (world, login, tokens, session) = signed_in().await;
    for _ in 0..2 {
        let fields = [("client_id", &*login.client_id), ("token", &tokens.refresh)];
        world.post_form("/revoke", &fields, &[]).await;
    }
    let expected = json!({
        "event.action": "session_end",
        "event.outcome": "success",
        "event.reason": "revoked_by_client",
        "user.id": ANA.object_id,
        "client.id": label(&login.client_id),
        "session.id": session,
    });
    assert_eq!(take_one("session_end"), expected);
}

#[tokio::test]
async fn a_reused_code_or_refresh_token_names_the_session_that_it_ends() {
    let (world, login, _, session) = signed_in().await;
    world.redeem(&login, &[]).await;
    let expected = |reason: &str, session: &str| {
        json!({
            "event.action": "session_end",
            "event.outcome": "success",
            "event.reason": reason,
            "session.id": session,
        })
    };
    assert_eq!(take_one("session_end"), expected("code_reused", &session));

    let (login, tokens) = world.session(ANA).await;
    let session = session_of(&world, &tokens.access).await;
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    world.advance(121);
    world.refresh(&login.client_id, &tokens.refresh, &[]).await;
    assert_eq!(
        take_one("session_end"),
        expected("refresh_token_reused", &session)
    );
}

#[tokio::test]
async fn a_session_that_an_administrator_revoked_is_named_when_it_is_met() {
    let (world, login, tokens, session) = signed_in().await;
    let before = world.clock.now() + SignedDuration::from_secs(1);
    world.write_revocations(&json!({"users": [{"id": ANA.object_id, "before": before}]}));
    // The file is read every second of real time.
    let mut lines: Vec<Value> = Vec::new();
    while lines.is_empty() {
        tokio::task::yield_now().await;
        world.refresh(&login.client_id, &tokens.refresh, &[]).await;
        lines = take("session_end");
        take("token_refresh");
    }
    let expected = json!({
        "event.action": "session_end",
        "event.outcome": "success",
        "event.reason": "revoked_by_administrator",
        "session.id": session,
    });
    // The end of the session's open requests writes a line of its own if it comes first.
    assert!(
        lines.len() <= 2 && lines.iter().all(|line| *line == expected),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_session_that_an_administrator_ends_over_the_socket_has_one_line() {
    listen();
    let world = World::start().await;
    let (_, tokens) = world.session(ANA).await;
    let session = world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap();
    assert!(world.sessions.end_by_id(&session.id).await.unwrap());
    let unknown = world.sessions.end_by_id(&session.id).await.unwrap();
    assert!(!unknown, "a session that is gone has no second line");
    let expected = json!({
        "event.action": "session_end",
        "event.outcome": "success",
        "event.reason": "ended_by_administrator",
        "session.id": session.id.to_string(),
    });
    assert_eq!(take_one("session_end"), expected);
}
