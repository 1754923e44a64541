//! A Pod that stops asks its clients for other connections, and serves until then.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use behalf_runtime::{Limits, serve_and_drain};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{FOR_EVER, connect, head_of_answer, is_served, limits, to_the_end};

async fn listen() -> (SocketAddr, CancellationToken, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (drain, end) = (CancellationToken::new(), CancellationToken::new());
    let router = Router::new().route("/", get(|| async { "there" }));
    let limits = Limits {
        connections: 8,
        ..limits()
    };
    tokio::spawn(serve_and_drain(
        listener,
        router,
        limits,
        drain.clone(),
        end.clone(),
    ));
    (address, drain, end.drop_guard())
}

/// A gateway that found its connection closed could not tell whether a call ran, and would answer 502.
#[tokio::test]
async fn a_kept_connection_gets_one_more_answer_which_closes_it() {
    let (address, drain, _end) = listen().await;
    let mut kept = connect(address).await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    kept.write_all(request).await.unwrap();
    let before = head_of_answer(&mut kept).await.unwrap();
    assert!(!before.contains("connection: close"), "{before}");

    drain.cancel();
    assert!(is_served(address).await, "new connections are served");
    kept.write_all(request).await.unwrap();
    let after = String::from_utf8(to_the_end(&mut kept).await).unwrap();
    assert!(after.starts_with("HTTP/1.1 200"), "{after}");
    assert!(
        after.contains("connection: close") && after.ends_with("there"),
        "{after}"
    );
}

#[tokio::test]
async fn an_http2_connection_ends_after_its_requests_also_one_that_begins_after_the_drain() {
    let (address, drain, _end) = listen().await;
    let connect = async || {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
        let (client, connection) = handshake.unwrap();
        (client, tokio::spawn(connection))
    };
    let ask = || {
        Request::get(format!("http://{address}/"))
            .body(Body::empty())
            .unwrap()
    };
    let (mut client, connection) = connect().await;
    let response = client.send_request(ask()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "there");

    drain.cancel();
    let ended = timeout(FOR_EVER, connection).await.expect("an end");
    ended.unwrap().unwrap();
    // A gateway may learn late that the Pod stops, and would keep this connection until the server is gone.
    let (mut client, connection) = connect().await;
    let response = client.send_request(ask()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "there");
    let ended = timeout(FOR_EVER, connection).await.expect("an end");
    ended.unwrap().unwrap();
}
