//! Tests of how the server's answers reach the client.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use behalf_auth_sidecar::sessions::GrantError;
use behalf_contract::ExchangePlace::{Server, Sidecar};
use behalf_contract::Injection::{Header, None as Nothing};
use behalf_contract::{Reauthenticate, ReauthenticateReason, ServerKind, headers};
use futures::{FutureExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use rstest::rstest;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use crate::fake_server::{Received, status};
use crate::world::{CLIENT, World, body, call, post};

#[tokio::test]
async fn headers_of_the_inner_hop_do_not_reach_the_client() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    world.server.answers(|_| {
        Response::builder()
            .header("content-type", "application/json")
            .header("set-cookie", "__Host-x=1; Path=/; Secure")
            .header("x-behalf-anything", "1")
            .header("server", "fake/1")
            .header("www-authenticate", "Basic")
            .header("access-control-allow-origin", "*")
            .header("mcp-session-id", "s1")
            .header("location", "http://127.0.0.1:3000/")
            .header("cache-control", "public, max-age=3600")
            .header("mcp-protocol-version", "2025-11-25")
            .body(Body::from("{}"))
            .unwrap()
    });
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "cache-control",
            "content-type",
            "mcp-protocol-version",
            "mcp-session-id",
            "vary",
            "x-content-type-options"
        ]
    );
    assert_ne!(response.headers()["mcp-session-id"], "s1", "it is sealed");
    // Otherwise a gateway could give the answer of one user to another: all users share the URL.
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn an_invalid_client_error_of_the_server_starts_a_federation_probe() {
    let world = World::start().await;
    let sidecar = world.sidecar(Server, Header);
    let login = sidecar.sign_in(&world).await;
    let answer = |error: Option<&'static str>| {
        move |_: &Received| {
            let mut response = status(StatusCode::SERVICE_UNAVAILABLE);
            let error = error.map(HeaderValue::from_static);
            response
                .headers_mut()
                .extend(error.map(|error| (HeaderName::from_static(headers::ERROR), error)));
            response
        }
    };
    // Another 503 of the server says nothing about the federation.
    world.server.answers(answer(None));
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(sidecar.trigger.requested().now_or_never().is_none());

    world.server.answers(answer(Some(headers::INVALID_CLIENT)));
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert!(!response.headers().contains_key(headers::ERROR));
    assert!(sidecar.trigger.requested().now_or_never().is_some());
}

#[rstest]
#[case(StatusCode::ACCEPTED)]
#[case(StatusCode::BAD_REQUEST)]
#[case(StatusCode::NOT_FOUND)]
#[case(StatusCode::METHOD_NOT_ALLOWED)]
#[case(StatusCode::NOT_ACCEPTABLE)]
#[case(StatusCode::TOO_MANY_REQUESTS)]
#[case(StatusCode::INTERNAL_SERVER_ERROR)]
#[tokio::test]
async fn other_statuses_of_the_server_are_forwarded(#[case] expected: StatusCode) {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    world.server.answers(move |_| status(expected));
    assert_eq!(sidecar.post(&login, &call()).await.status(), expected);
}

#[rstest]
#[case(StatusCode::UNAUTHORIZED)]
#[case(StatusCode::FORBIDDEN)]
#[case(StatusCode::FOUND)]
#[case(StatusCode::PERMANENT_REDIRECT)]
#[tokio::test]
async fn a_status_that_would_mislead_the_client_becomes_502(#[case] answered: StatusCode) {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    world.server.answers(move |_| status(answered));
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(!response.headers().contains_key("www-authenticate"));
    assert_eq!(body(response).await["id"], 7);
    let is_refusal = answered.is_client_error();
    assert_eq!(sidecar.security_events("server_refusal"), u64::from(is_refusal));
}

fn demands_sign_in(status: u16, value: &str) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("x-behalf-reauthenticate", value)
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn a_server_that_demands_a_sign_in_makes_the_client_sign_in() {
    let world = World::start().await;
    let sidecar = world.sidecar(Server, Header);
    let login = sidecar.sign_in(&world).await;
    let wanted = Reauthenticate {
        reason: ReauthenticateReason::InteractionRequired,
        claims: Some(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#.to_owned()),
        consent: false,
    };
    let value = wanted.encode();
    world.server.answers(move |_| demands_sign_in(401, &value));
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(
        response.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .contains("error=\"invalid_token\"")
    );
    assert!(!response.headers().contains_key("x-behalf-reauthenticate"));
    let refreshed = sidecar
        .sessions
        .refresh(&login.refresh_token, CLIENT, None, None)
        .await;
    assert!(matches!(refreshed, Err(GrantError::Dead(_))));
}

#[tokio::test]
async fn a_server_from_another_image_cannot_send_users_to_entra() {
    let world = World::start().await;
    let mut config = world.config(Sidecar, Header);
    config.access.server = ServerKind::Container;
    let sidecar = world.sidecar_with(config);
    let login = sidecar.sign_in(&world).await;
    let wanted = Reauthenticate {
        reason: ReauthenticateReason::GrantExpired,
        claims: Some("{}".to_owned()),
        consent: true,
    };
    let value = wanted.encode();
    world.server.answers(move |_| demands_sign_in(401, &value));
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let refreshed = sidecar
        .sessions
        .refresh(&login.refresh_token, CLIENT, None, None)
        .await;
    assert!(refreshed.is_ok(), "the session goes on");
}

#[rstest]
#[case(401, "%%")]
#[case(401, "e30")]
#[case(403, "eyJyZWFzb24iOiJHcmFudEV4cGlyZWQifQ")]
#[tokio::test]
async fn a_wish_that_cannot_be_read_or_comes_with_another_status_is_a_502(
    #[case] code: u16,
    #[case] value: &'static str,
) {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    world.server.answers(move |_| demands_sign_in(code, value));
    assert_eq!(
        sidecar.post(&login, &call()).await.status(),
        StatusCode::BAD_GATEWAY
    );
    assert!(
        sidecar
            .sessions
            .refresh(&login.refresh_token, CLIENT, None, None)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn without_a_server_the_answer_is_503_with_retry_after() {
    let mut world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    let other = crate::fake_server::FakeServer::start().await;
    std::mem::replace(&mut world.server, other).stop().await;
    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "2");
}

/// Sends a message when it is dropped.
struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn events_are_forwarded_one_by_one_and_a_disconnect_cancels_the_request_to_the_server() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    let (events, source) = mpsc::channel::<Bytes>(1);
    let gone = Arc::new(Notify::new());
    let source = std::sync::Mutex::new(Some((source, Gone(Arc::clone(&gone)))));
    world.server.answers(move |_| {
        let source = source.lock().unwrap().take().unwrap();
        let stream = futures::stream::unfold(source, |(mut source, gone)| async move {
            source
                .recv()
                .await
                .map(|event| (Ok::<_, std::io::Error>(event), (source, gone)))
        });
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(Body::from_stream(stream))
            .unwrap()
    });
    let response = sidecar
        .send(post(&login).body(Body::from(call().to_string())).unwrap())
        .await;
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut stream = response.into_body().into_data_stream();
    // No event is there yet. A gateway forwards the head of the answer with this comment.
    assert_eq!(stream.next().await.unwrap().unwrap(), ":\n\n");
    // Each event arrives before the server sends the next one, so the proxy does not buffer.
    for text in ["data: 1\n\n", ": keep-alive\n\n", "data: 2\n\n"] {
        events.send(Bytes::from(text)).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), text);
    }
    drop(stream);
    gone.notified().await;
}

#[tokio::test]
async fn a_disconnect_before_the_answer_cancels_the_request_to_the_server() {
    let world = World::start().await;
    let (sidecar, silent) = world.sidecar_with_silent_server().await;
    let login = sidecar.sign_in(&world).await;
    let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = public.local_addr().unwrap();
    let router = sidecar.router.clone();
    tokio::spawn(async move { axum::serve(public, router).await });

    let request = reqwest::Client::builder()
        .build()
        .unwrap()
        .post(format!("http://{address}/mcp"))
        .bearer_auth(&login.access_token)
        .header("content-type", "application/json")
        .body(call().to_string());
    let client = tokio::spawn(request.send());
    let (mut connection, _) = silent.accept().await.unwrap();
    let mut received = [0; 4096];
    assert!(connection.read(&mut received).await.unwrap() > 0);
    client.abort();
    // The connection ends after the rest of the request.
    while connection.read(&mut received).await.unwrap() > 0 {}
}

#[tokio::test]
async fn large_answers_arrive_completely() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    world
        .server
        .answers(|_| Response::new(Body::from(vec![b'x'; 8 * 1024 * 1024])));
    let response = sidecar.post(&login, &call()).await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), 8 * 1024 * 1024);
}
