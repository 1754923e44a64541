//! Tests that a client receives early answers whole through nginx with TLS and HTTP/2.

use axum::body::{Body, Bytes};
use axum::http::Version;
use axum::response::Response;
use behalf_auth_sidecar::lifecycle;
use behalf_contract::ExchangePlace::Sidecar;
use behalf_contract::Injection::None as Nothing;
use futures::StreamExt as _;
use rstest::rstest;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::nginx::Nginx;
use crate::world::{World, call};

/// The sidecar answers before it has the body. nginx must neither lose this answer nor make a 502 of it.
#[rstest]
#[case::no_token("/mcp", "application/json", 401)]
#[case::too_large("/register", "application/json", 413)]
#[case::too_large_a_form("/token", "application/x-www-form-urlencoded", 413)]
#[tokio::test]
async fn an_early_answer_passes_a_gateway_every_time(
    #[case] path: &str,
    #[case] content_type: &str,
    #[case] status: u16,
    #[values(60_000, 1_000_000, 4_000_000)] size: usize,
) {
    let world = World::start().await;
    let started = lifecycle::Sidecar::start(world.loaded(), world.environment()).await;
    let sidecar = started.unwrap();
    let gateway = Nginx::start(sidecar.public()).await;
    let (http, url) = (gateway.http(), gateway.origin().join(path).unwrap());
    for number in 0..12 {
        let request = http
            .post(url.clone())
            .header("content-type", content_type)
            .body(vec![b'x'; size]);
        let response = request.send().await;
        let response = response.unwrap_or_else(|error| panic!("{number}: {error:?}"));
        assert_eq!(response.status().as_u16(), status, "{number}");
        let body = response.bytes().await;
        body.unwrap_or_else(|error| panic!("{number}: {error:?} in the body"));
    }
    drop(http);
    sidecar.stop().await;
}

/// nginx holds the head of an answer until the first byte of its body.
#[tokio::test]
async fn an_event_stream_passes_a_gateway_before_its_first_event() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Nginx::start(public.local_addr().unwrap()).await;
    let router = sidecar.router.clone();
    tokio::spawn(async move { axum::serve(public, router).await });
    let (events, source) = mpsc::channel::<Bytes>(1);
    let source = std::sync::Mutex::new(Some(source));
    world.server.answers(move |_| {
        let source = source.lock().unwrap().take().unwrap();
        let stream = futures::stream::unfold(source, |mut source| async move {
            let event = source.recv().await?;
            Some((Ok::<_, std::io::Error>(event), source))
        });
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(Body::from_stream(stream))
            .unwrap()
    });
    let request = gateway
        .http()
        .post(gateway.origin().join("/mcp").unwrap())
        .bearer_auth(&login.access_token)
        .header("accept", "application/json, text/event-stream")
        .json(&call());
    let response = request.send().await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let mut stream = response.bytes_stream();
    assert_eq!(stream.next().await.unwrap().unwrap(), ":\n\n");
    for text in ["data: 1\n\n", ": keep-alive\n\n", "data: 2\n\n"] {
        events.send(Bytes::from(text)).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), text);
    }
}
