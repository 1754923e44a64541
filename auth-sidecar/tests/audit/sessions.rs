//! The lines of refreshed and ended sessions.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request};
use behalf_auth_sidecar::sessions::SignInAgain;
use behalf_entra::{Clock as _, Secret};
use behalf_simulators::entra::{Effect, Fault, RequestKind};
use behalf_simulators::people::ANA;
use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::answer::Tokens;
use crate::calls::{TRACE, call, list, post, server, world};
use crate::fixture::{Login, REDIRECT_URI, VERIFIER, World, encode, request};
use crate::lines::{MEASURED, listen, remove, take, take_one};
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
        "event.duration_ms": MEASURED,
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
        "event.duration_ms": MEASURED,
        "event.reason": "revoked_by_client",
        "user.id": ANA.object_id,
        "client.id": label(&login.client_id),
        "session.id": session,
    });
    assert_eq!(take_one("session_end"), expected);
}

#[tokio::test]
async fn a_reused_code_or_refresh_token_names_the_session_that_it_ends_and_its_owner() {
    let (world, login, _, session) = signed_in().await;
    world.redeem(&login, &[]).await;
    let expected = |reason: &str, login: &Login, session: &str| {
        json!({
            "event.action": "session_end",
            "event.outcome": "success",
            "event.duration_ms": MEASURED,
            "event.reason": reason,
            "user.id": ANA.object_id,
            "client.id": label(&login.client_id),
            "session.id": session,
        })
    };
    assert_eq!(take_one("session_end"), expected("code_reused", &login, &session));

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
        expected("refresh_token_reused", &login, &session)
    );
}

#[tokio::test]
async fn a_session_that_the_object_revokes_has_one_line_although_three_replicas_meet_it() {
    listen();
    let world = World::start_replicas(3, |_| {}).await;
    let (login, tokens) = world.session(ANA).await;
    let session = session_of(&world, &tokens.access).await;
    // No replica can remove the session when the file changes.
    world.store.set_broken(true);
    let before = world.clock.now() + SignedDuration::from_secs(1);
    world.write_revocations(&json!({"users": [{"id": ANA.object_id, "before": before}]}));
    while world.store.refusals() < world.replicas.len() {
        tokio::task::yield_now().await;
    }
    world.store.set_broken(false);
    let access = Secret::new(&*tokens.access);
    let opened = world
        .replicas
        .iter()
        .map(|replica| replica.sessions.open(&access));
    for opened in futures::future::join_all(opened).await {
        opened.unwrap_err();
    }
    let expected = json!({
        "event.action": "session_end",
        "event.outcome": "success",
        "event.reason": "revoked_by_administrator",
        "user.id": ANA.object_id,
        "client.id": label(&login.client_id),
        "session.id": session,
    });
    assert_eq!(take_one("session_end"), expected);
}

/// Revokes all sessions of Ana in the object, and returns the first lines of their end.
async fn lines_after_the_object_revokes(world: &World) -> Vec<Value> {
    let before = world.clock.now() + SignedDuration::from_secs(1);
    world.write_revocations(&json!({"users": [{"id": ANA.object_id, "before": before}]}));
    let mut lines = Vec::new();
    while lines.is_empty() {
        tokio::task::yield_now().await;
        lines = take("session_end");
    }
    lines
}

#[rstest]
#[case::no_answer(false)]
#[case::an_answer_to_the_second_try(true)]
#[tokio::test]
async fn a_session_that_the_object_revokes_without_an_answer_of_the_store_has_a_line_that_says_so(
    #[case] tries_again: bool,
) {
    listen();
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let session = session_of(&world, &tokens.access).await;
    world.store.lose_removals(tries_again);
    let lines = lines_after_the_object_revokes(&world).await;
    let expected = json!({
        "event.action": "session_end",
        "event.outcome": "unknown",
        "event.reason": "revoked_by_administrator",
        "user.id": ANA.object_id,
        "client.id": label(&login.client_id),
        "session.id": session,
    });
    assert_eq!(lines, [expected]);
}

#[tokio::test]
async fn a_session_that_the_object_revokes_and_nobody_uses_has_a_line() {
    listen();
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let session = session_of(&world, &tokens.access).await;
    let lines = lines_after_the_object_revokes(&world).await;
    let expected = json!({
        "event.action": "session_end",
        "event.outcome": "success",
        "event.reason": "revoked_by_administrator",
        "user.id": ANA.object_id,
        "client.id": label(&login.client_id),
        "session.id": session,
    });
    assert_eq!(lines, [expected]);
}

#[tokio::test]
async fn a_revocation_over_the_socket_without_an_answer_of_the_store_is_not_called_a_success() {
    listen();
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let session = world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap();
    world.store.lose_removals(false);
    world.sessions.revoke_by_id(&session.id).await.unwrap_err();
    let expected = json!({
        "event.action": "session_end",
        "event.outcome": "unknown",
        "event.reason": "revoked_by_command",
        "user.id": ANA.object_id,
        "client.id": label(&login.client_id),
        "session.id": session.id.to_string(),
    });
    assert_eq!(take_one("session_end"), expected);
}

#[tokio::test]
async fn a_session_that_an_administrator_revokes_over_the_socket_has_one_line() {
    listen();
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let session = world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap();
    assert!(world.sessions.revoke_by_id(&session.id).await.unwrap());
    let unknown = world.sessions.revoke_by_id(&session.id).await.unwrap();
    assert!(!unknown, "a session that is gone has no second line");
    let expected = json!({
        "event.action": "session_end",
        "event.outcome": "success",
        "event.reason": "revoked_by_command",
        "user.id": ANA.object_id,
        "client.id": label(&login.client_id),
        "session.id": session.id.to_string(),
    });
    assert_eq!(take_one("session_end"), expected);
}

#[tokio::test]
async fn the_end_of_a_session_that_a_request_on_the_socket_revokes_has_its_duration() {
    let (world, _, _, session) = signed_in().await;
    let request = Request::delete(format!("/sessions/{session}"));
    let socket = behalf_auth_sidecar::admin::router(world.replicas[0].clone());
    let answer = socket
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let line = take_one("session_end");
    assert_eq!(
        (&line["session.id"], &line["event.duration_ms"]),
        (&json!(session), &json!(MEASURED))
    );
}

#[tokio::test]
async fn a_session_beyond_the_users_limit_names_its_user_and_client() {
    let (world, login, _, session) = signed_in().await;
    for _ in 0..64 {
        world.login_of(&login.client_id, ANA).await;
    }
    let expected = json!({
        "event.action": "session_end",
        "event.outcome": "success",
        "event.duration_ms": MEASURED,
        "event.reason": "too_many_sessions",
        "user.id": ANA.object_id,
        "client.id": label(&login.client_id),
        "session.id": session,
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
        "event.duration_ms": MEASURED,
        "event.reason": "revoked_by_entra",
        "user.id": ANA.object_id,
        "client.id": label(&login.client_id),
        "session.id": session,
        "entra.error_code": 50173,
        "trace.id": TRACE,
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
    let expected = |reason: &str| {
        json!({
            "event.action": "token_refresh",
            "event.outcome": "failure",
            "event.duration_ms": MEASURED,
            "event.reason": reason,
            "user.id": ANA.object_id,
            "client.id": label(&client_id),
            "session.id": session,
        })
    };
    let refuse = async |client_id: &str, more: &[(&str, &str)]| {
        let answer = world.refresh(client_id, &tokens.refresh, more).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        take_one("token_refresh")
    };
    let more = [("scope", "mcp:read mcp:run")];
    assert_eq!(refuse(&client_id, &more).await, expected("invalid_scope"));
    let other = world.register(&[REDIRECT_URI]).await;
    // The line names the client of the session. Nothing proves what the sender claims.
    assert_eq!(refuse(&other, &[]).await, expected("wrong_binding"));
    assert_eq!(post(&world, &tokens.access, &call("run")).await.status, 403);
    assert_eq!(refuse(&client_id, &[]).await, expected("step_up"));
    let opened = world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap();
    let again = SignInAgain {
        claims: Some(r#"{"access_token":{}}"#.to_owned()),
        consent: false,
    };
    world.sessions.require_sign_in(&opened, again).await.unwrap();
    assert_eq!(refuse(&client_id, &[]).await, expected("sign_in_required"));
}

#[tokio::test]
async fn a_code_with_a_wrong_client_or_verifier_has_the_reason() {
    listen();
    let world = World::start().await;
    let login = world.login(ANA).await;
    let other = world.register(&[REDIRECT_URI]).await;
    let wrong = "another-verifier-that-is-long-enough-for-rfc-7636-to-take";
    let cases = [
        (("client_id", &*other), "wrong_binding"),
        (("code_verifier", wrong), "wrong_verifier"),
    ];
    for (change, reason) in cases {
        world
            .redeem(&login, &[change])
            .await
            .assert_error(400, "invalid_grant");
        let mut line = take_one("session_start");
        assert!(remove(&mut line, "session.id").is_string());
        let expected = json!({
            "event.action": "session_start",
            "event.outcome": "failure",
            "event.duration_ms": MEASURED,
            "event.reason": reason,
            "user.id": ANA.object_id,
            "client.id": label(&login.client_id),
        });
        assert_eq!(line, expected);
    }
    let tokens = world.redeem(&login, &[]).await.tokens();
    assert!(!tokens.access.is_empty(), "the code stays valid");
}

/// Sends a form to the token endpoint from this address.
async fn send_from(address: &str, world: &World, fields: &[(&str, &str)]) {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let mut request = request(Method::POST, "/token", &form)
        .body(Body::from(encode(fields)))
        .unwrap();
    let peer: SocketAddr = format!("{address}:1000").parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    world.send(request).await;
}

#[tokio::test]
async fn a_grant_of_another_client_names_the_sender_by_address_while_its_session_lives() {
    listen();
    let world =
        World::start_with(|config| config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let login = world.login(ANA).await;
    let other = world.register(&[REDIRECT_URI]).await;
    let code = [
        ("grant_type", "authorization_code"),
        ("client_id", &*other),
        ("code", &login.code),
        ("code_verifier", VERIFIER),
    ];
    send_from("192.0.2.7", &world, &code).await;
    let line = take_one("session_start");
    assert_eq!(
        (&line["client.address"], &line["client.id"]),
        (&json!("192.0.2.7"), &json!(label(&login.client_id)))
    );

    let tokens = world.redeem(&login, &[]).await.tokens();
    take("session_start");
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", &*other),
        ("refresh_token", &tokens.refresh),
    ];
    send_from("192.0.2.8", &world, &refresh).await;
    assert_eq!(take_one("token_refresh")["client.address"], "192.0.2.8");

    let fields = [("client_id", &*login.client_id), ("token", &tokens.refresh)];
    world.post_form("/revoke", &fields, &[]).await;
    send_from("192.0.2.7", &world, &code).await;
    send_from("192.0.2.8", &world, &refresh).await;
    assert_eq!(take("session_start"), Vec::<Value>::new());
    assert_eq!(take("token_refresh"), Vec::<Value>::new());
}

#[tokio::test]
async fn a_session_that_entra_blocks_for_now_has_not_ended() {
    listen();
    let server = server().await;
    let world = world(&server).await;
    world.entra_tokens_live_an_hour().await;
    let (login, mut tokens) = world.session(ANA).await;
    let session = session_of(&world, &tokens.access).await;
    let blocked = Effect::Refusal {
        status: 400,
        error: "invalid_grant".to_owned(),
        code: 53003,
        suberror: None,
        claims: None,
    };
    let fault = Fault::always([RequestKind::RefreshToken], blocked);
    let control = world.entra.control();
    // The client refreshes before each call, because its own token lives for an hour.
    let mut call = async |seconds: i64| {
        world.advance(seconds);
        tokens = world
            .refresh(&login.client_id, &tokens.refresh, &[])
            .await
            .tokens();
        let answer = post(&world, &tokens.access, &list()).await;
        take("request_refusal");
        answer.status
    };
    for _ in 0..2 {
        control.add_fault(&fault).await.unwrap();
        // A token is renewed ten minutes before it expires. Then Entra is asked again every five minutes.
        for seconds in [52 * 60, 301] {
            assert_eq!(call(seconds).await, 200, "a message that says what to do");
        }
        let mut line = take_one("session_block");
        assert!(remove(&mut line, "entra.correlation_id").is_string());
        let expected = json!({
            "event.action": "session_block",
            "event.outcome": "success",
            "event.duration_ms": MEASURED,
            "event.reason": "blocked_by_entra",
            "user.id": ANA.object_id,
            "client.id": label(&login.client_id),
            "session.id": session,
            "entra.error_code": 53003,
            "trace.id": TRACE,
        });
        assert_eq!(line, expected);
        control.clear_faults().await.unwrap();
        assert_eq!(call(301).await, 200, "the session goes on");
    }
    assert_eq!(take("session_end"), Vec::<Value>::new());

    control.add_fault(&fault).await.unwrap();
    call(52 * 60).await;
    take_one("session_block");
    control.clear_faults().await.unwrap();
    control.revoke(ANA.user_name).await.unwrap();
    assert_eq!(call(301).await, 401);
    assert_eq!(take_one("session_end")["event.reason"], "revoked_by_entra");
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
