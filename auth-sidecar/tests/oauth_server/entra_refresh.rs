//! The renewal of the user's token for this application.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use behalf_auth_sidecar::sessions::{OpenSession, SessionError};
use behalf_entra::{Clock as _, Secret};
use behalf_simulators::entra::{Effect, Fault, RequestKind};
use behalf_simulators::people::{ANA, BEN};
use futures::StreamExt as _;
use jiff::SignedDuration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::fixture::{Login, Tokens, World, request};
use crate::sign_in_requirements::{CLAIMS, claims_challenge};

/// Starts a server whose access tokens live longer than Entra's, so that only Entra's token expires.
async fn world() -> (World, Login, Tokens) {
    let world = World::start_with(|config| config.sessions.access_token_lifetime_seconds = 24 * 3600).await;
    world.entra_tokens_live_an_hour().await;
    let (login, tokens) = world.session(ANA).await;
    (world, login, tokens)
}

async fn open(world: &World, tokens: &Tokens) -> Arc<OpenSession> {
    world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap()
}

async fn refreshes(world: &World) -> usize {
    world
        .entra
        .control()
        .requests_of(RequestKind::RefreshToken)
        .await
        .unwrap()
        .len()
}

#[tokio::test]
async fn a_token_with_ten_minutes_left_is_not_renewed() {
    let (world, _, tokens) = world().await;
    world.advance(3000);
    let session = open(&world, &tokens).await;
    let token = world.sessions.user_token(&session).await.unwrap();
    assert_eq!(
        token.expires_at.duration_since(world.clock.now()),
        SignedDuration::from_mins(10)
    );
    assert_eq!(refreshes(&world).await, 0);
}

#[tokio::test]
async fn a_refused_token_is_renewed_although_an_older_renewal_in_flight_returns_it() {
    let (world, _, tokens) = world().await;
    world.advance(3001);
    let session = open(&world, &tokens).await;
    let current = world.sessions.user_token(&session).await.unwrap();
    assert_eq!(refreshes(&world).await, 1);
    // The session was opened before. Its renewal finds the current token and asks Entra for nothing.
    let older = world.sessions.user_token(&session);
    let renewed = world.sessions.renewed_user_token(&session, &current.access_token);
    let (older, renewed) = tokio::join!(older, renewed);
    assert_eq!(older.unwrap().access_token, current.access_token);
    assert_ne!(renewed.unwrap().access_token, current.access_token);
    assert_eq!(refreshes(&world).await, 2);
}

#[tokio::test]
async fn an_older_token_is_renewed_once_for_all_waiting_calls() {
    let (world, _, tokens) = world().await;
    let session = open(&world, &tokens).await;
    let old = world.sessions.user_token(&session).await.unwrap();
    world.advance(3001);
    let calls = (0..10).map(|_| async {
        let session = open(&world, &tokens).await;
        world.sessions.user_token(&session).await.unwrap()
    });
    for token in futures::future::join_all(calls).await {
        assert_ne!(token.access_token, old.access_token);
        assert_eq!(
            token.expires_at.duration_since(world.clock.now()),
            SignedDuration::from_hours(1)
        );
    }
    assert_eq!(refreshes(&world).await, 1);
    // The new token is stored for the next call and for a session that was opened before.
    world
        .sessions
        .user_token(&*open(&world, &tokens).await)
        .await
        .unwrap();
    world.sessions.user_token(&session).await.unwrap();
    assert_eq!(refreshes(&world).await, 1);
}

#[tokio::test]
async fn a_revoked_entra_grant_requires_a_new_sign_in() {
    let (world, login, tokens) = world().await;
    world.entra.control().revoke(ANA.user_name).await.unwrap();
    world.advance(3001);
    let session = open(&world, &tokens).await;
    for _ in 0..3 {
        let outcome = world.sessions.user_token(&session).await;
        assert!(
            matches!(outcome, Err(SessionError::SignInRequired)),
            "{outcome:?}"
        );
    }
    assert_eq!(refreshes(&world).await, 1, "Entra is not asked again and again");
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
    open(&world, &tokens).await;
    let again = world.login_of(&login.client_id, ANA).await;
    let tokens = world.redeem(&again, &[]).await.tokens();
    let session = open(&world, &tokens).await;
    assert!(world.sessions.user_token(&session).await.is_ok());
}

#[tokio::test]
async fn tokens_that_a_full_store_does_not_save_are_used_and_entra_is_asked_once() {
    let (world, _, tokens) = world().await;
    world.store.set_full(true);
    // Without a valid token a call needs the new one.
    world.advance(3601);
    let mut used = Vec::new();
    for _ in 0..5 {
        let session = open(&world, &tokens).await;
        used.push(world.sessions.user_token(&session).await.unwrap());
    }
    assert_eq!(refreshes(&world).await, 1);
    assert!(
        used.iter()
            .all(|token| token.access_token == used[0].access_token)
    );
    // Entra refused the token as assertion.
    let session = open(&world, &tokens).await;
    let renewed = world
        .sessions
        .renewed_user_token(&session, &used[0].access_token)
        .await
        .unwrap();
    assert_ne!(renewed.access_token, used[0].access_token);

    world.store.set_full(false);
    world.advance(301);
    let session = open(&world, &tokens).await;
    world.sessions.user_token(&session).await.unwrap();
    assert_eq!(refreshes(&world).await, 3);
    let saved = open(&world, &tokens).await;
    world.sessions.user_token(&saved).await.unwrap();
    assert_eq!(refreshes(&world).await, 3, "the store has the tokens");
}

#[tokio::test]
async fn a_refusal_that_a_full_store_does_not_save_is_not_asked_for_again() {
    let (world, _, tokens) = world().await;
    world.entra.control().revoke(ANA.user_name).await.unwrap();
    world.store.set_full(true);
    world.advance(3001);
    for _ in 0..3 {
        let session = open(&world, &tokens).await;
        let refused = world.sessions.user_token(&session).await;
        assert!(
            matches!(refused, Err(SessionError::Unavailable { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(refreshes(&world).await, 1);
}

#[tokio::test]
async fn a_claims_challenge_at_renewal_reaches_the_next_login() {
    let (world, login, tokens) = world().await;
    let effect = claims_challenge();
    let control = world.entra.control();
    control
        .add_fault(&Fault::once([RequestKind::RefreshToken], effect))
        .await
        .unwrap();
    world.advance(3001);
    let session = open(&world, &tokens).await;
    let outcome = world.sessions.user_token(&session).await;
    assert!(
        matches!(outcome, Err(SessionError::SignInRequired)),
        "{outcome:?}"
    );
    assert!(!format!("{outcome:?}").contains("acrs"), "{outcome:?}");
    world.login_of(&login.client_id, ANA).await;
    let sent = control.requests_of(RequestKind::Authorize).await.unwrap();
    assert_eq!(sent.last().unwrap().claims.as_deref(), Some(CLAIMS));
}

fn outage(seconds: u32) -> Effect {
    Effect::Status {
        status: 503,
        retry_after_seconds: Some(seconds),
    }
}

fn invalid_client() -> Effect {
    Effect::Refusal {
        status: 401,
        error: "invalid_client".to_owned(),
        code: 700_211,
        suberror: None,
        claims: None,
    }
}

async fn refreshes_meet(world: &World, fault: Fault) {
    world.entra.control().add_fault(&fault).await.unwrap();
}

fn once(effect: Effect) -> Fault {
    Fault::once([RequestKind::RefreshToken], effect)
}

/// Regression: `toolhive#6194`, a session that ended after one renewal whose answer was lost.
#[tokio::test]
async fn an_outage_of_entra_uses_the_token_up_and_is_then_503() {
    let (world, login, tokens) = world().await;
    world.advance(3300);
    for (number, effect) in [outage(7), Effect::Reset, invalid_client()]
        .into_iter()
        .enumerate()
    {
        refreshes_meet(&world, once(effect)).await;
        for _ in 0..3 {
            let session = open(&world, &tokens).await;
            assert!(world.sessions.user_token(&session).await.is_ok());
        }
        assert_eq!(refreshes(&world).await, number + 1, "once in 15 seconds");
        world.advance(15);
    }
    world.advance(300);
    let session = open(&world, &tokens).await;
    refreshes_meet(&world, once(outage(40))).await;
    for left in [40, 10] {
        let outcome = world.sessions.user_token(&session).await;
        let wait = Duration::from_secs(left);
        assert!(
            matches!(&outcome, Err(SessionError::Unavailable { retry_after: Some(after), .. }) if *after == wait),
            "{outcome:?}"
        );
        world.advance(30);
    }
    assert_eq!(
        refreshes(&world).await,
        4,
        "asked before Entra wanted to hear of it"
    );
    refreshes_meet(&world, once(invalid_client())).await;
    for _ in 0..2 {
        let outcome = world.sessions.user_token(&session).await;
        assert!(
            matches!(outcome, Err(SessionError::ClientAuthentication(_))),
            "{outcome:?}"
        );
    }
    world.advance(15);
    assert!(world.sessions.user_token(&session).await.is_ok(), "it passed");
    assert_eq!(refreshes(&world).await, 6);
    assert_eq!(
        world.refresh(&login.client_id, &tokens.refresh, &[]).await.status,
        200
    );
}

#[tokio::test]
async fn parallel_calls_share_one_slow_renewal_and_use_the_valid_token() {
    let (world, _, tokens) = world().await;
    world.advance(3300);
    let old = open(&world, &tokens).await;
    refreshes_meet(&world, Fault::always([RequestKind::RefreshToken], Effect::Hold)).await;
    let calls = (0..10).map(|_| async {
        let session = open(&world, &tokens).await;
        world.sessions.user_token(&session).await.unwrap()
    });
    let held = futures::future::join_all(calls).await;
    assert!(held.iter().all(|token| token.expires_at == held[0].expires_at));
    assert_eq!(refreshes(&world).await, 1, "each call asked for itself");

    // The result of the slow renewal is used.
    world.entra.control().clear_faults().await.unwrap();
    let renewed = world.sessions.user_token(&old).await.unwrap();
    assert!(renewed.expires_at > held[0].expires_at);
    assert_eq!(refreshes(&world).await, 1);
}

#[tokio::test]
async fn parallel_calls_without_a_valid_token_share_one_renewal_and_its_failure() {
    let (world, _, tokens) = world().await;
    world.advance(3600);
    refreshes_meet(&world, Fault::always([RequestKind::RefreshToken], outage(40))).await;
    let calls = (0..10).map(|_| async {
        let session = open(&world, &tokens).await;
        world.sessions.user_token(&session).await
    });
    for outcome in futures::future::join_all(calls).await {
        assert!(
            matches!(outcome, Err(SessionError::Unavailable { .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(refreshes(&world).await, 1);
}

#[tokio::test]
async fn throttling_of_one_session_pauses_the_renewals_of_all() {
    let (world, _, first) = world().await;
    let (_, second) = world.session(BEN).await;
    world.advance(3300);
    let throttled = Effect::Throttled {
        retry_after_seconds: Some(40),
    };
    refreshes_meet(&world, once(throttled)).await;
    for tokens in [&first, &second, &first] {
        let session = open(&world, tokens).await;
        assert!(
            world.sessions.user_token(&session).await.is_ok(),
            "the living token serves"
        );
    }
    world.advance(39);
    world
        .sessions
        .user_token(&*open(&world, &second).await)
        .await
        .unwrap();
    assert_eq!(
        refreshes(&world).await,
        1,
        "Entra throttles the application, not the user"
    );
    world.advance(1);
    world
        .sessions
        .user_token(&*open(&world, &second).await)
        .await
        .unwrap();
    assert_eq!(refreshes(&world).await, 2);
}

#[tokio::test]
async fn a_renewal_completes_after_the_client_disconnects() {
    let (world, _, tokens) = world().await;
    world.advance(3600);
    refreshes_meet(&world, Fault::always([RequestKind::RefreshToken], Effect::Hold)).await;
    let session = open(&world, &tokens).await;
    {
        let mut call = Box::pin(world.sessions.user_token(&session));
        while refreshes(&world).await == 0 {
            assert!(futures::poll!(&mut call).is_pending());
        }
    }
    world.entra.control().clear_faults().await.unwrap();
    world.sessions.user_token(&session).await.unwrap();
    assert_eq!(refreshes(&world).await, 1);
}

#[tokio::test]
async fn a_blocked_user_gets_a_message_and_no_login() {
    let (world, _, tokens) = world().await;
    let effect = Effect::Refusal {
        status: 400,
        error: "invalid_grant".to_owned(),
        code: 53003,
        suberror: Some("message_only".to_owned()),
        claims: Some("{}".to_owned()),
    };
    world
        .entra
        .control()
        .add_fault(&Fault::always([RequestKind::RefreshToken], effect))
        .await
        .unwrap();
    world.advance(3001);
    let session = open(&world, &tokens).await;
    for _ in 0..3 {
        let outcome = world.sessions.user_token(&session).await;
        assert!(
            matches!(&outcome, Err(SessionError::Blocked(text)) if !text.is_empty()),
            "{outcome:?}"
        );
    }
    assert_eq!(refreshes(&world).await, 1);
}

#[tokio::test]
async fn a_revoked_entra_grant_ends_open_streams() {
    let stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
                  9\r\ndata: 1\n\n\r\n";
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}/mcp", server.local_addr().unwrap());
    let world = World::start_with(|config| {
        config.sessions.access_token_lifetime_seconds = 24 * 3600;
        config.token_exchange.injection = behalf_contract::Injection::None;
        config.upstream = upstream.parse().unwrap();
    })
    .await;
    world.entra_tokens_live_an_hour().await;
    let control = world.entra.control();
    let (_, tokens) = world.session(ANA).await;
    let listen = || {
        request(Method::GET, "/mcp", &[])
            .header("authorization", format!("Bearer {}", tokens.access))
            .body(Body::empty())
            .unwrap()
    };
    let answers = async {
        let (mut connection, _) = server.accept().await.unwrap();
        assert!(connection.read(&mut [0; 4096]).await.unwrap() > 0);
        connection.write_all(stream.as_bytes()).await.unwrap();
        connection
    };
    let (response, _connection) = tokio::join!(world.respond(listen()), answers);
    let mut events = response.into_body().into_data_stream();
    assert_eq!(events.next().await.unwrap().unwrap(), "data: 1\n\n");

    control.revoke(ANA.user_name).await.unwrap();
    world.advance(3001);
    assert_eq!(world.send(listen()).await.status, 401);
    let end = tokio::time::timeout(Duration::from_secs(2), events.next()).await;
    assert!(end.expect("the stream goes on").is_none());
}
