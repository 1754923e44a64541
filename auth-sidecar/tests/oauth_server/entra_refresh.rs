use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use behalf_auth_sidecar::sessions::{OpenSession, SessionError};
use behalf_entra::{Clock as _, Secret};
use behalf_tests::entra::{Effect, Fault, RequestKind};
use behalf_tests::people::ANA;
use futures::StreamExt as _;
use jiff::SignedDuration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::fixture::{Login, Tokens, World, request};

/// Entra's token lives an hour; ours much longer, so that only Entra's matters here.
async fn world() -> (World, Login, Tokens) {
    let world = World::start_with(|config| config.sessions.access_token_lifetime_seconds = 24 * 3600).await;
    let control = world.entra.control();
    control
        .update_settings(|settings| settings.application_token_seconds = Some(3600))
        .await
        .unwrap();
    let (login, tokens) = world.session(ANA).await;
    (world, login, tokens)
}

async fn open(world: &World, tokens: &Tokens) -> OpenSession {
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
async fn a_token_with_ten_minutes_left_is_handed_out_as_it_is() {
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
async fn with_less_left_it_is_renewed_once_for_all_who_wait() {
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
    // Kept for the next call, and for a session that was opened before.
    world
        .sessions
        .user_token(&open(&world, &tokens).await)
        .await
        .unwrap();
    world.sessions.user_token(&session).await.unwrap();
    assert_eq!(refreshes(&world).await, 1);
}

#[tokio::test]
async fn a_user_whom_entra_no_longer_knows_signs_in_again() {
    let (world, login, tokens) = world().await;
    world.entra.control().revoke(ANA.user_name).await.unwrap();
    world.advance(3001);
    let session = open(&world, &tokens).await;
    for _ in 0..3 {
        let outcome = world.sessions.user_token(&session).await;
        assert!(
            matches!(outcome, Err(SessionError::SignInRequired { claims: None })),
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
async fn a_claims_challenge_at_renewal_reaches_the_next_login() {
    let (world, login, tokens) = world().await;
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let effect = Effect::Refusal {
        status: 400,
        error: "interaction_required".to_owned(),
        code: 50076,
        suberror: Some("basic_action".to_owned()),
        claims: Some(claims.to_owned()),
    };
    let control = world.entra.control();
    control
        .add_fault(&Fault::once([RequestKind::RefreshToken], effect))
        .await
        .unwrap();
    world.advance(3001);
    let session = open(&world, &tokens).await;
    let outcome = world.sessions.user_token(&session).await;
    assert!(
        matches!(&outcome, Err(SessionError::SignInRequired { claims: Some(sent) }) if sent == claims),
        "{outcome:?}"
    );
    world.login_of(&login.client_id, ANA).await;
    let sent = control.requests_of(RequestKind::Authorize).await.unwrap();
    assert_eq!(sent.last().unwrap().claims.as_deref(), Some(claims));
}

#[tokio::test]
async fn an_outage_of_entra_uses_the_token_up_and_is_then_503() {
    let (world, login, tokens) = world().await;
    let control = world.entra.control();
    for effect in [
        Effect::Status {
            status: 503,
            retry_after_seconds: Some(7),
        },
        Effect::Reset,
        Effect::Refusal {
            status: 401,
            error: "invalid_client".to_owned(),
            code: 700_211,
            suberror: None,
            claims: None,
        },
    ] {
        control
            .add_fault(&Fault::once([RequestKind::RefreshToken], effect))
            .await
            .unwrap();
        world.advance(3300 - 3300 * i64::from(refreshes(&world).await > 0));
        let session = open(&world, &tokens).await;
        assert!(world.sessions.user_token(&session).await.is_ok());
    }
    world.advance(300);
    let session = open(&world, &tokens).await;
    let effect = Effect::Status {
        status: 503,
        retry_after_seconds: Some(7),
    };
    control
        .add_fault(&Fault::once([RequestKind::RefreshToken], effect))
        .await
        .unwrap();
    let outcome = world.sessions.user_token(&session).await;
    let after = std::time::Duration::from_secs(7);
    assert!(
        matches!(&outcome, Err(SessionError::Unavailable { retry_after: Some(wait), .. }) if *wait == after),
        "{outcome:?}"
    );
    world.issuer.set_available(true);
    let invalid_client = Effect::Refusal {
        status: 401,
        error: "invalid_client".to_owned(),
        code: 700_211,
        suberror: None,
        claims: None,
    };
    control
        .add_fault(&Fault::once([RequestKind::RefreshToken], invalid_client))
        .await
        .unwrap();
    let outcome = world.sessions.user_token(&session).await;
    assert!(
        matches!(outcome, Err(SessionError::ClientAuthentication(_))),
        "{outcome:?}"
    );
    assert!(world.sessions.user_token(&session).await.is_ok(), "it passed");
    assert_eq!(
        world.refresh(&login.client_id, &tokens.refresh, &[]).await.status,
        200
    );
}

#[tokio::test]
async fn a_blocked_user_is_told_so_and_sent_into_no_login() {
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
async fn a_user_whom_entra_no_longer_knows_sees_no_more_of_an_open_stream() {
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
    let control = world.entra.control();
    control
        .update_settings(|settings| settings.application_token_seconds = Some(3600))
        .await
        .unwrap();
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
