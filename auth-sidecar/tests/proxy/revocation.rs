//! The end of a session also ends its open streams and requests.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{Method, Request, Response, StatusCode};
use behalf_contract::ExchangePlace::Sidecar as AtSidecar;
use behalf_contract::Injection::None as Nothing;
use behalf_simulators::people::{ANA, BEN};
use futures::{StreamExt as _, future, poll, stream};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::tool_error::tool_error;
use crate::world::{CLIENT, Login, Sidecar, World, call, post};

/// Maximum time until the end of a session reaches its streams.
const IN_FORCE: Duration = Duration::from_secs(2);

/// Maximum number of sessions of one user.
const MAX_SESSIONS: usize = 64;

/// Lets the server answer each request with the beginning of an endless body.
pub(crate) fn server_streams(world: &World, content_type: &'static str) {
    world.server.answers(move |_| {
        let begin = stream::once(future::ready(Ok::<_, Infallible>(Bytes::from("data: 1\n\n"))));
        Response::builder()
            .header("content-type", content_type)
            .body(Body::from_stream(begin.chain(stream::pending())))
            .unwrap()
    });
}

/// Opens a stream for `login`. Returns it after its first part.
pub(crate) async fn open(sidecar: &Sidecar, login: &Login, method: &Method) -> BodyDataStream {
    let request = if method == Method::POST {
        post(login).body(Body::from(call().to_string()))
    } else {
        Request::get("https://mcp.contoso.example/mcp")
            .header("authorization", format!("Bearer {}", login.access_token))
            .header("accept", "text/event-stream")
            .body(Body::empty())
    };
    let response = sidecar.send(request.unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut stream = response.into_body().into_data_stream();
    assert_eq!(stream.next().await.unwrap().unwrap(), "data: 1\n\n");
    stream
}

/// Returns the error at the end of the stream. `None` after a clean end.
pub(crate) async fn end_of(mut stream: BodyDataStream) -> Option<Result<Bytes, axum::Error>> {
    timeout(IN_FORCE, stream.next())
        .await
        .expect("the stream goes on")
}

pub(crate) async fn revoke(sidecar: &Sidecar, token: &str) {
    let fields = [("client_id", CLIENT), ("token", token)];
    let answer = sidecar.post_form("/revoke", &fields).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

async fn refresh(sidecar: &Sidecar, token: &str) -> Option<String> {
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT),
        ("refresh_token", token),
    ];
    let answer = sidecar.post_form("/token", &fields).await;
    let answer = crate::world::body(answer).await;
    answer["refresh_token"].as_str().map(str::to_owned)
}

pub(crate) async fn status(sidecar: &Sidecar, login: &Login) -> StatusCode {
    sidecar.post(login, &call()).await.status()
}

#[rstest]
#[case::post(Method::POST)]
#[case::get(Method::GET)]
#[tokio::test]
async fn a_revoked_access_token_ends_the_open_streams_of_its_session_only(#[case] method: Method) {
    let world = World::start().await;
    server_streams(&world, "text/event-stream");
    let sidecar = world.sidecar_for_client();
    let (login, other) = (sidecar.sign_in(&world).await, sidecar.sign_in(&world).await);
    let streams = [
        open(&sidecar, &login, &method).await,
        open(&sidecar, &login, &method).await,
    ];
    let mut stays = open(&sidecar, &other, &method).await;
    revoke(&sidecar, &login.access_token).await;
    for stream in streams {
        assert!(
            end_of(stream).await.is_none(),
            "an end that no client takes for a fault"
        );
    }
    assert!(poll!(stays.next()).is_pending());
}

#[tokio::test]
async fn a_revoked_refresh_token_ends_open_streams() {
    let world = World::start().await;
    server_streams(&world, "text/event-stream");
    let sidecar = world.sidecar_for_client();
    let login = sidecar.sign_in(&world).await;
    let stream = open(&sidecar, &login, &Method::GET).await;
    revoke(&sidecar, login.refresh_token.expose()).await;
    assert!(end_of(stream).await.is_none());
}

#[tokio::test]
async fn a_refresh_token_used_again_ends_open_streams() {
    let world = World::start().await;
    server_streams(&world, "text/event-stream");
    let sidecar = world.sidecar_for_client();
    let login = sidecar.sign_in(&world).await;
    let stream = open(&sidecar, &login, &Method::POST).await;
    let first = login.refresh_token.expose().to_owned();
    let second = refresh(&sidecar, &first).await.unwrap();
    assert!(refresh(&sidecar, &second).await.is_some());
    assert!(refresh(&sidecar, &first).await.is_none());
    assert!(end_of(stream).await.is_none());
}

#[tokio::test]
async fn a_notification_stream_ends_with_its_access_token_and_a_call_does_not() {
    let world = World::start().await;
    server_streams(&world, "text/event-stream");
    let mut config = world.config(AtSidecar, Nothing);
    config.sessions.access_token_lifetime_seconds = 3;
    let sidecar = world.sidecar_with(config);
    let login = sidecar.sign_in(&world).await;
    let mut call = open(&sidecar, &login, &Method::POST).await;
    let mut stream = open(&sidecar, &login, &Method::GET).await;
    let end = timeout(IN_FORCE * 5, stream.next()).await.expect("an end");
    assert!(end.is_none());
    assert!(poll!(call.next()).is_pending(), "a call that has begun goes on");
}

#[tokio::test]
async fn a_json_answer_of_a_revoked_session_ends_with_an_error() {
    let world = World::start().await;
    server_streams(&world, "application/json");
    let sidecar = world.sidecar_for_client();
    let login = sidecar.sign_in(&world).await;
    let answer = open(&sidecar, &login, &Method::POST).await;
    revoke(&sidecar, &login.access_token).await;
    assert!(matches!(end_of(answer).await, Some(Err(_))));
}

/// Returns the answer to `message` if the session is revoked after the server has received it.
async fn revoked_while_it_waits(message: Value) -> Response<Body> {
    let world = World::start().await;
    let (sidecar, silent) = world.sidecar_with_silent_server().await;
    let login = sidecar.sign_in(&world).await;
    let waits = sidecar.post(&login, &message);
    let server = async {
        let (mut connection, _) = silent.accept().await.unwrap();
        assert!(connection.read(&mut [0; 4096]).await.unwrap() > 0);
        let token = behalf_entra::Secret::new(&*login.access_token);
        sidecar.sessions.revoke(&token, CLIENT).await.unwrap();
        connection
    };
    let (response, _connection) = timeout(IN_FORCE * 5, future::join(waits, server))
        .await
        .expect("the call still waits");
    response
}

#[tokio::test]
async fn a_waiting_tool_call_of_a_revoked_session_may_have_run() {
    let response = revoked_while_it_waits(call()).await;
    // It is not 401: at 401 the client would sign in and repeat the call.
    let text = tool_error(response).await;
    assert!(text.contains("it may have run"), "{text}");
}

#[tokio::test]
async fn another_waiting_request_of_a_revoked_session_gets_401() {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let response = revoked_while_it_waits(message).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_beyond_the_users_limit_ends_the_users_oldest() {
    let world = World::start().await;
    let sidecar = world.sidecar_for_client();
    let bens = sidecar.sign_in_as(&world, BEN).await;
    let mut anas = Vec::new();
    for _ in 0..MAX_SESSIONS {
        anas.push(sidecar.sign_in_as(&world, ANA).await);
    }
    for login in &anas {
        assert_eq!(status(&sidecar, login).await, StatusCode::OK);
    }
    server_streams(&world, "text/event-stream");
    let stream = open(&sidecar, &anas[0], &Method::GET).await;
    let newest = sidecar.sign_in_as(&world, ANA).await;
    assert!(end_of(stream).await.is_none());
    assert_eq!(status(&sidecar, &anas[0]).await, StatusCode::UNAUTHORIZED);
    for login in [&anas[1], &anas[MAX_SESSIONS - 1], &newest, &bens] {
        assert_eq!(status(&sidecar, login).await, StatusCode::OK);
    }
}

#[tokio::test]
async fn sessions_that_have_ended_do_not_count() {
    let world = World::start().await;
    let sidecar = world.sidecar_for_client();
    let kept = sidecar.sign_in(&world).await;
    for _ in 0..2 * MAX_SESSIONS {
        let short = sidecar.sign_in(&world).await;
        revoke(&sidecar, &short.access_token).await;
    }
    assert_eq!(status(&sidecar, &kept).await, StatusCode::OK);
}
