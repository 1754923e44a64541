//! A user token that Entra refuses as On-Behalf-Of assertion is renewed and exchanged once more.

use axum::body::Body;
use axum::http::Method;
use behalf_contract::{ExchangePlace, Reauthenticate, ReauthenticateReason};
use behalf_simulators::entra::{Effect, Fault, RequestKind};
use behalf_simulators::people::ANA;
use rstest::rstest;
use serde_json::json;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::fixture::{Answer, Tokens, World, request};

/// An MCP server that answers every call, and an authorization server in front of it.
async fn world(at: ExchangePlace) -> (World, MockServer) {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!({"jsonrpc": "2.0", "id": 7, "result": {}})),
        )
        .mount(&server)
        .await;
    let upstream = format!("{}/mcp", server.uri()).parse().unwrap();
    let world = World::start_with(|config| {
        config.token_exchange.at = at;
        config.upstream = upstream;
    })
    .await;
    // Every token has the same life, so a renewed one does not expire later than the refused one.
    world.entra_tokens_live_an_hour().await;
    (world, server)
}

async fn call(world: &World, tokens: &Tokens) -> Answer {
    let message = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "run"}});
    let request = request(
        Method::POST,
        "/mcp",
        &[
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ],
    )
    .header("authorization", format!("Bearer {}", tokens.access))
    .body(Body::from(message.to_string()));
    world.send(request.unwrap()).await
}

async fn asked(world: &World, kind: RequestKind) -> usize {
    world.entra.control().requests_of(kind).await.unwrap().len()
}

/// The client gets the message in a tool result, which starts no login.
fn assert_blocked(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = answer.json();
    assert_eq!(body["result"]["isError"], true, "{body}");
    let text = body["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("Entra refuses this account's token"), "{text}");
}

fn stale(code: u32) -> Effect {
    Effect::Refusal {
        status: 400,
        error: "invalid_grant".to_owned(),
        code,
        suberror: None,
        claims: None,
    }
}

#[rstest]
#[case::expired(500_133)]
#[case::invalid(50_013)]
#[tokio::test]
async fn a_refused_user_token_is_renewed_and_exchanged_once_more(#[case] code: u32) {
    let (world, server) = world(ExchangePlace::Sidecar).await;
    let (_, tokens) = world.session(ANA).await;
    let control = world.entra.control();
    let fault = Fault::once([RequestKind::OnBehalfOf], stale(code));
    control.add_fault(&fault).await.unwrap();
    let answer = call(&world, &tokens).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(asked(&world, RequestKind::OnBehalfOf).await, 2);
    assert_eq!(asked(&world, RequestKind::RefreshToken).await, 1);
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
    // The session uses the renewed token from now on.
    assert_eq!(call(&world, &tokens).await.status, 200);
    assert_eq!(asked(&world, RequestKind::OnBehalfOf).await, 2);
}

#[tokio::test]
async fn a_second_refusal_requires_a_sign_in_unless_the_last_one_is_recent() {
    let (world, server) = world(ExchangePlace::Sidecar).await;
    let (_, tokens) = world.session(ANA).await;
    let control = world.entra.control();
    let fault = Fault::always([RequestKind::OnBehalfOf], stale(500_133));
    control.add_fault(&fault).await.unwrap();
    for _ in 0..3 {
        assert_blocked(&call(&world, &tokens).await);
    }
    assert_eq!(asked(&world, RequestKind::OnBehalfOf).await, 2);
    assert_eq!(asked(&world, RequestKind::RefreshToken).await, 1);

    let (_, older) = world.session(ANA).await;
    world.advance(11 * 60);
    for _ in 0..3 {
        assert_eq!(call(&world, &older).await.status, 401);
    }
    assert_eq!(asked(&world, RequestKind::OnBehalfOf).await, 4);
    assert_eq!(asked(&world, RequestKind::RefreshToken).await, 2);
    // The next login does not lead to another one.
    let (_, newer) = world.session(ANA).await;
    assert_blocked(&call(&world, &newer).await);
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_server_whose_exchange_is_refused_gets_the_renewed_token_once() {
    let (world, server) = world(ExchangePlace::Server).await;
    let (_, tokens) = world.session(ANA).await;
    let wanted = Reauthenticate {
        reason: ReauthenticateReason::UserTokenRefused,
        claims: None,
        consent: false,
    };
    let refusal =
        ResponseTemplate::new(401).insert_header("x-behalf-reauthenticate", wanted.encode().as_str());
    let once = Mock::given(method("POST"))
        .respond_with(refusal.clone())
        .up_to_n_times(1)
        .with_priority(1);
    once.mount(&server).await;
    assert_eq!(call(&world, &tokens).await.status, 200);
    assert_eq!(asked(&world, RequestKind::RefreshToken).await, 1);
    let received = server.received_requests().await.unwrap();
    let sent: Vec<_> = received
        .iter()
        .map(|request| &request.headers["authorization"])
        .collect();
    assert_eq!(sent.len(), 2);
    assert_ne!(sent[0], sent[1]);

    Mock::given(method("POST"))
        .respond_with(refusal)
        .with_priority(1)
        .mount(&server)
        .await;
    assert_blocked(&call(&world, &tokens).await);
    assert_eq!(
        server.received_requests().await.unwrap().len(),
        4,
        "at most one more try"
    );
}
