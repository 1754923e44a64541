//! Tests of a token that the downstream API refuses: the sidecar tries again before it asks the user to sign
//! in.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use behalf_auth_sidecar::sessions::GrantError;
use behalf_contract::ExchangePlace::{self, Server, Sidecar};
use behalf_contract::Injection::{self, Argument, Header};
use behalf_contract::{Reauthenticate, ReauthenticateReason};
use behalf_entra::Secret;
use behalf_simulators::entra::{Effect, Fault, RequestKind};
use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fake_server::{Received, mcp};
use crate::tool_error::tool_error;
use crate::world::{CLIENT, World, body, call};

pub(crate) fn refused(reason: ReauthenticateReason, claims: Option<&str>) -> Response<Body> {
    let wanted = Reauthenticate {
        reason,
        claims: claims.map(str::to_owned),
        consent: false,
    };
    Response::builder()
        .status(401)
        .header("x-behalf-reauthenticate", wanted.encode())
        .body(Body::empty())
        .unwrap()
}

fn token_refused() -> Response<Body> {
    refused(ReauthenticateReason::TokenRefused, None)
}

/// The downstream token of a request.
pub(crate) fn token(request: &Received) -> String {
    let in_header = request.header("authorization").map(str::to_owned);
    in_header.or_else(|| request.argument()).unwrap()
}

pub(crate) async fn exchanges(world: &World) -> usize {
    world
        .control()
        .requests_of(RequestKind::OnBehalfOf)
        .await
        .unwrap()
        .len()
}

#[rstest]
#[case(Header)]
#[case(Argument)]
#[tokio::test]
async fn a_refused_token_is_exchanged_once_more_and_the_call_is_sent_again(#[case] injection: Injection) {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, injection);
    let login = sidecar.sign_in(&world).await;
    let first = std::sync::Mutex::new(None);
    world.server.answers(move |request| {
        let mut first = first.lock().unwrap();
        let token = token(request);
        if *first.get_or_insert_with(|| token.clone()) == token {
            token_refused()
        } else {
            mcp(request)
        }
    });
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response).await["id"], 7);
    let received = world.server.received();
    assert_eq!(received.len(), 2);
    assert_ne!(token(&received[0]), token(&received[1]));
    for request in &received {
        assert_eq!(request.json()["params"]["arguments"]["a"], 1);
        assert_eq!(request.json()["params"]["name"], "run");
    }
    assert_eq!(exchanges(&world).await, 2);
    // The cache keeps the new token.
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
    assert_eq!((world.server.received().len(), exchanges(&world).await), (3, 2));
}

#[tokio::test]
async fn calls_that_were_refused_with_the_same_token_share_one_exchange() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
    let old = token(&world.server.received()[0]);
    world.server.answers(move |request| {
        if token(request) == old {
            token_refused()
        } else {
            mcp(request)
        }
    });
    let message = call();
    let calls = (0..8).map(|_| sidecar.post(&login, &message));
    for response in futures::future::join_all(calls).await {
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(exchanges(&world).await, 2);
}

#[rstest]
#[case::exchange_here(Sidecar, 2)]
#[case::exchange_in_the_server(Server, 1)]
#[tokio::test]
async fn after_a_recent_sign_in_a_refused_token_is_a_tool_result_that_says_what_to_do(
    #[case] at: ExchangePlace,
    #[case] sent: usize,
) {
    let world = World::start().await;
    let sidecar = world.sidecar(at, Header);
    let login = sidecar.sign_in(&world).await;
    world.server.answers(|_| token_refused());
    let response = sidecar.post(&login, &call()).await;
    let text = tool_error(response).await;
    for word in [
        "signing in again does not help",
        "tenant",
        "guest",
        "browser",
        "administrator",
    ] {
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(world.server.received().len(), sent, "at most one more try");
    let refreshed = sidecar
        .sessions
        .refresh(&login.refresh_token, CLIENT, None, None)
        .await;
    assert!(refreshed.is_ok(), "the session goes on");
}

#[rstest]
#[case::exchange_here(Sidecar, 2, 2)]
#[case::exchange_in_the_server(Server, 1, 0)]
#[tokio::test]
async fn repeated_calls_with_a_refused_token_cause_no_exchanges(
    #[case] at: ExchangePlace,
    #[case] received: usize,
    #[case] exchanged: usize,
) {
    let world = World::start().await;
    let sidecar = world.sidecar(at, Header);
    let login = sidecar.sign_in(&world).await;
    world.server.answers(|_| token_refused());
    for _ in 0..5 {
        tool_error(sidecar.post(&login, &call()).await).await;
    }
    assert_eq!(
        (world.server.received().len(), exchanges(&world).await),
        (received, exchanged)
    );
}

#[rstest]
#[case::policy(ReauthenticateReason::InteractionRequired, Some("{}"), 0)]
#[case::grant(ReauthenticateReason::GrantExpired, None, 0)]
#[case::assertion(ReauthenticateReason::UserTokenRefused, None, 1)]
#[tokio::test]
async fn a_client_that_ignores_401_reaches_a_server_that_exchanges_itself_once(
    #[case] reason: ReauthenticateReason,
    #[case] claims: Option<&'static str>,
    #[case] renewed: usize,
) {
    let world = World::start().await;
    let sidecar = world.sidecar(Server, Header);
    let refresh_token = Some(Secret::new("of-another-application"));
    let login = sidecar
        .sign_in_for(&world, SignedDuration::from_hours(1), refresh_token)
        .await;
    world.clock.advance(SignedDuration::from_mins(11));
    world.server.answers(move |_| refused(reason, claims));
    for _ in 0..4 {
        let response = sidecar.post(&login, &call()).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.server.received().len(), 1);
    let renewals = world.control().requests_of(RequestKind::RefreshToken).await;
    assert_eq!(renewals.unwrap().len(), renewed);
}

/// Regression: `toolhive#5055`, a token that the backend refused at each call, and no login that replaced it.
#[rstest]
#[case(Sidecar)]
#[case(Server)]
#[tokio::test]
async fn after_an_older_sign_in_a_refused_token_asks_the_user_to_sign_in_again(#[case] at: ExchangePlace) {
    let world = World::start().await;
    let sidecar = world.sidecar(at, Header);
    let login = sidecar.sign_in(&world).await;
    world.clock.advance(SignedDuration::from_mins(11));
    world.server.answers(|_| token_refused());
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("invalid_token"), "{challenge}");
    let refreshed = sidecar
        .sessions
        .refresh(&login.refresh_token, CLIENT, None, None)
        .await;
    assert!(
        matches!(refreshed, Err(GrantError::Dead(_))),
        "it would call with the same token again"
    );

    let again = sidecar.sign_in(&world).await;
    // No second login follows.
    tool_error(sidecar.post(&again, &call()).await).await;
}

#[tokio::test]
async fn a_server_without_tokens_cannot_trigger_a_renewal() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Injection::None);
    let refresh_token = Some(Secret::new("rt"));
    let login = sidecar
        .sign_in_for(&world, SignedDuration::from_hours(1), refresh_token)
        .await;
    world
        .server
        .answers(|_| refused(ReauthenticateReason::UserTokenRefused, None));
    sidecar.post(&login, &call()).await;
    assert_eq!(world.server.received().len(), 1);
    let renewals = world.control().requests_of(RequestKind::RefreshToken).await;
    assert!(renewals.unwrap().is_empty());
}

#[rstest]
#[case::token(ReauthenticateReason::TokenRefused)]
#[case::policy(ReauthenticateReason::InteractionRequired)]
#[tokio::test]
async fn a_request_without_a_downstream_token_is_sent_once(#[case] reason: ReauthenticateReason) {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Argument);
    let login = sidecar.sign_in(&world).await;
    world.server.answers(move |_| refused(reason, Some("{}")));
    let list = json!({"jsonrpc": "2.0", "id": 8, "method": "tools/list"});
    let response = sidecar.post(&login, &list).await;
    assert_ne!(body(response).await["error"], Value::Null);
    assert_eq!((world.server.received().len(), exchanges(&world).await), (1, 0));
}

#[tokio::test]
async fn a_claims_challenge_of_the_downstream_api_is_first_sent_to_entra() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
    let first = std::sync::atomic::AtomicBool::new(true);
    world.server.answers(move |request| {
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            refused(ReauthenticateReason::InteractionRequired, Some(claims))
        } else {
            mcp(request)
        }
    });
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
    let asked = world
        .control()
        .requests_of(RequestKind::OnBehalfOf)
        .await
        .unwrap();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].claims.as_deref(), Some(claims));

    world
        .server
        .answers(|_| refused(ReauthenticateReason::InteractionRequired, Some("{}")));
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "the user is needed");
}

#[tokio::test]
async fn a_message_that_is_too_large_to_keep_is_sent_once() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    world.server.answers(|_| token_refused());
    let mut message: Value = call();
    message["params"]["arguments"] = json!({"text": "x".repeat(64 * 1024)});
    tool_error(sidecar.post(&login, &message).await).await;
    assert_eq!((world.server.received().len(), exchanges(&world).await), (1, 1));
    // The next call is the second try.
    world.server.answers(mcp);
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
    assert_eq!(exchanges(&world).await, 2);
}

#[tokio::test]
async fn an_exchange_that_fails_at_the_second_try_is_answered_as_at_the_first() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
    world.server.answers(|_| token_refused());
    let outage = Effect::Status {
        status: 503,
        retry_after_seconds: Some(30),
    };
    let fault = Fault::always([RequestKind::OnBehalfOf], outage);
    world.control().add_fault(&fault).await.unwrap();
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "30");
}

#[tokio::test]
async fn an_outage_at_the_second_try_keeps_the_token() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
    let outage = Effect::Status {
        status: 503,
        retry_after_seconds: Some(30),
    };
    let fault = Fault::always([RequestKind::OnBehalfOf], outage);
    world.control().add_fault(&fault).await.unwrap();
    world
        .server
        .answers(|_| refused(ReauthenticateReason::InteractionRequired, Some("{}")));
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);

    world.server.answers(mcp);
    assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_claims_challenge_of_one_tool_does_not_affect_other_requests() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    world
        .server
        .answers(|_| refused(ReauthenticateReason::InteractionRequired, Some("{}")));
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);

    world.server.answers(mcp);
    let list = json!({"jsonrpc": "2.0", "id": 8, "method": "tools/list"});
    assert_eq!(sidecar.post(&login, &list).await.status(), StatusCode::OK);
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(
        response.status(),
        StatusCode::UNAUTHORIZED,
        "a client that ignores the challenge causes no request"
    );
}
