//! How connections end.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use behalf_runtime::{Http2Limits, Limits, serve};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{
    FOR_EVER, PREFACE, SETTINGS, SHORT, connect, head_of_answer, is_served, limits, listen, to_the_end,
};

#[tokio::test]
async fn an_http2_connection_that_answers_no_ping_ends() {
    let http2 = Some(Http2Limits {
        connections: 1,
        ping: SHORT,
        idle: FOR_EVER,
    });
    let (address, _end) = listen(Limits { http2, ..limits() }).await;
    let mut mute = connect(address).await;
    mute.write_all(PREFACE).await.unwrap();
    mute.write_all(SETTINGS).await.unwrap();
    to_the_end(&mut mute).await;
    assert!(is_served(address).await);
}

#[tokio::test]
async fn an_http2_connection_without_streams_ends_though_its_peer_answers() {
    let http2 = Some(Http2Limits {
        connections: 1,
        ping: FOR_EVER,
        idle: 10 * SHORT,
    });
    let (address, _end) = listen(Limits { http2, ..limits() }).await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    // Requests keep it open for twice the limit.
    for _ in 0..8 {
        let request = Request::get(format!("http://{address}/")).body(Body::empty());
        let response = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "there");
        tokio::time::sleep(5 * SHORT / 2).await;
    }
    tokio::time::timeout(FOR_EVER, connection)
        .await
        .expect("an end")
        .unwrap()
        .unwrap();
    assert!(is_served(address).await);
}

#[tokio::test]
async fn a_silent_connection_does_not_delay_the_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let end = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, Router::new(), limits(), end.clone()));
    let mut silent = connect(address).await;
    end.cancel();
    to_the_end(&mut silent).await;
    tokio::time::timeout(FOR_EVER / 2, serving)
        .await
        .expect("an end")
        .unwrap();
}

#[tokio::test]
async fn an_open_keep_alive_connection_delays_the_stop_by_seconds_at_most() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let end = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, Router::new(), limits(), end.clone()));
    let mut lazy = connect(address).await;
    lazy.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    head_of_answer(&mut lazy).await.unwrap();
    end.cancel();
    tokio::time::timeout(Duration::from_secs(4), serving)
        .await
        .expect("an end")
        .unwrap();
}
