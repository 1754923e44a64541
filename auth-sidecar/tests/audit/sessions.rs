//! The lines of refreshed and ended sessions.

use behalf_entra::{Clock as _, Secret};
use behalf_simulators::people::ANA;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::answer::Tokens;
use crate::calls::{call, list, post, server, world};
use crate::fixture::{Login, REDIRECT_URI, World};
use crate::lines::{listen, remove, take, take_one};
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

#[tokio::test]
async fn a_session_that_entra_revoked_has_one_line() {
    listen();
    let server = server().await;
    let world = world(&server).await;
    world.entra_tokens_live_an_hour().await;
    let (login, tokens) = world.session(ANA).await;
    let session = session_of(&world, &tokens.access).await;
    world.entra.control().revoke(ANA.user_name).await.unwrap();
    // A token is renewed ten minutes before it expires.
    world.advance(52 * 60);
    // The second call meets the stored refusal. The third one comes when Entra is asked again.
    for seconds in [0, 0, 301] {
        world.advance(seconds);
        let answer = post(&world, &tokens.access, &list()).await;
        assert_eq!(answer.status, 401, "{}", answer.body);
        take("request_refusal");
    }
    let mut line = take_one("session_end");
    assert!(remove(&mut line, "entra.correlation_id").is_string());
    let expected = json!({
        "event.action": "session_end",
        "event.outcome": "success",
        "event.reason": "revoked_by_entra",
        "user.id": ANA.object_id,
        "client.id": label(&login.client_id),
        "session.id": session,
        "entra.error_code": 50173,
    });
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_refresh_that_a_live_session_is_refused_has_the_reason() {
    listen();
    let server = server().await;
    let world = world(&server).await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let path = world.authorize_path(&client_id, &[("scope", "mcp:read")]);
    let browser = behalf_simulators::sign_in::Browser::new().unwrap();
    let visit = behalf_simulators::sign_in::Visit::new(world.base.join(&path).unwrap(), ANA.user_name);
    let login = Login {
        client_id: client_id.clone(),
        redirect_uri: REDIRECT_URI.to_owned(),
        code: browser.sign_in(&visit).await.unwrap().code.unwrap(),
    };
    let tokens = world.redeem(&login, &[]).await.tokens();
    let session = session_of(&world, &tokens.access).await;
    let expected = |client_id: &str, reason: &str| {
        json!({
            "event.action": "token_refresh",
            "event.outcome": "failure",
            "event.reason": reason,
            "client.id": label(client_id),
            "session.id": session,
        })
    };
    let refuse = async |client_id: &str, more: &[(&str, &str)]| {
        let answer = world.refresh(client_id, &tokens.refresh, more).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        take_one("token_refresh")
    };
    let more = [("scope", "mcp:read mcp:run")];
    assert_eq!(
        refuse(&client_id, &more).await,
        expected(&client_id, "invalid_scope")
    );
    let other = world.register(&[REDIRECT_URI]).await;
    assert_eq!(refuse(&other, &[]).await, expected(&other, "wrong_binding"));
    assert_eq!(post(&world, &tokens.access, &call("run")).await.status, 403);
    assert_eq!(refuse(&client_id, &[]).await, expected(&client_id, "step_up"));
    let opened = world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap();
    let claims = Some(r#"{"access_token":{}}"#.to_owned());
    world.sessions.require_sign_in(&opened, claims).await.unwrap();
    assert_eq!(
        refuse(&client_id, &[]).await,
        expected(&client_id, "sign_in_required")
    );
}

#[tokio::test]
async fn a_code_with_a_wrong_client_or_verifier_has_the_reason() {
    listen();
    let world = World::start().await;
    let login = world.login(ANA).await;
    let other = world.register(&[REDIRECT_URI]).await;
    let wrong = "another-verifier-that-is-long-enough-for-rfc-7636-to-take";
    let cases = [
        (("client_id", &*other), &other, "wrong_binding"),
        (("code_verifier", wrong), &login.client_id, "wrong_verifier"),
    ];
    for (change, client_id, reason) in cases {
        world
            .redeem(&login, &[change])
            .await
            .assert_error(400, "invalid_grant");
        let mut line = take_one("session_start");
        assert!(remove(&mut line, "session.id").is_string());
        let expected = json!({
            "event.action": "session_start",
            "event.outcome": "failure",
            "event.reason": reason,
            "client.id": label(client_id),
        });
        assert_eq!(line, expected);
    }
    let tokens = world.redeem(&login, &[]).await.tokens();
    assert!(!tokens.access.is_empty(), "the code stays valid");
}

#[tokio::test]
async fn a_grant_that_nobody_issued_or_that_expired_has_no_line() {
    let (world, login, tokens, _) = signed_in().await;
    take("session_start");
    for _ in 0..20 {
        world.refresh(&login.client_id, "made-up", &[]).await;
        let made_up = Login {
            code: "made-up".to_owned(),
            ..login.clone()
        };
        world.redeem(&made_up, &[]).await;
    }
    world.advance(366 * 24 * 3600);
    world.refresh(&login.client_id, &tokens.refresh, &[]).await;
    assert_eq!(take("token_refresh"), Vec::<Value>::new());
    assert_eq!(take("session_start"), Vec::<Value>::new());
}
