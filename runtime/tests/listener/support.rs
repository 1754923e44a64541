//! A listener, and a client that writes bytes.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::routing::{get, post};
use behalf_runtime::{Http2Limits, Limits, WhenFull, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longer than every limit of these tests. A connection that is open after it never ends.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(20);
pub(crate) const SHORT: Duration = Duration::from_millis(50);

/// The HTTP/2 preface and an empty SETTINGS frame (RFC 9113, sections 3.4 and 6.5).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Size of the answer of `/large`, in bytes: more than the kernel keeps for a client that does not read.
pub(crate) const LARGE: usize = 64 * 1024 * 1024;

pub(crate) fn limits() -> Limits {
    Limits {
        connections: 1,
        when_full: WhenFull::CloseIdle,
        first_bytes: FOR_EVER,
        head: FOR_EVER,
        head_bytes: 32 * 1024,
        keep_alive: true,
        write: FOR_EVER,
        finish: FOR_EVER,
        http2: Some(Http2Limits {
            connections: 1,
            ping: FOR_EVER,
            idle: FOR_EVER,
        }),
    }
}

pub(crate) async fn listen(limits: Limits) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/", get(|| async { "there" }))
        .route(
            "/peer",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
        )
        .route("/panic", get(|| async { panic!("planted") as StatusCode }))
        .route("/refuse", post(|| async { StatusCode::UNAUTHORIZED }))
        .route(
            "/echo-length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route("/large", get(|| async { Body::from(vec![b'x'; LARGE]) }));
    let end = CancellationToken::new();
    tokio::spawn(serve(listener, router, limits, end.clone()));
    (address, end.drop_guard())
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Everything that comes until the other end closes.
pub(crate) async fn to_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    // A reset is an end, too.
    let _ = timeout(FOR_EVER, stream.read_to_end(&mut received))
        .await
        .expect("an end");
    received
}

pub(crate) async fn is_served(address: SocketAddr) -> bool {
    let mut stream = connect(address).await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    to_the_end(&mut stream).await.ends_with(b"there")
}

/// The head of the next answer. Its body must be empty, or said with `Content-Length`.
pub(crate) async fn head_of_answer(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(FOR_EVER, stream.read_u8()).await.expect("an answer")?;
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).await?;
    Ok(head)
}
