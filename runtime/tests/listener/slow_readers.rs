//! Tests of clients that send requests and do not read the answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use behalf_runtime::{Limits, serve};
use futures::stream;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{FOR_EVER, LARGE, PREFACE, SHORT, connect, is_served, limits, listen};

#[tokio::test]
async fn a_client_that_never_reads_loses_its_connection() {
    let (address, _end) = listen(Limits {
        write: SHORT,
        ..limits()
    })
    .await;
    let mut stream = connect(address).await;
    stream
        .write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    // The only place is free again.
    let served = tokio::time::timeout(FOR_EVER, is_served(address));
    assert!(served.await.expect("a place"));
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything() {
    let (address, _end) = listen(Limits {
        write: 20 * SHORT,
        ..limits()
    })
    .await;
    let mut stream = connect(address).await;
    let request = b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    // Each pause is shorter than the limit, all together are longer; the server waits in all of them.
    let mut part = vec![0; LARGE / 8];
    for _ in 0..5 {
        tokio::time::sleep(6 * SHORT).await;
        stream.read_exact(&mut part).await.unwrap();
    }
    let rest = crate::support::to_the_end(&mut stream).await.len();
    assert!(5 * part.len() + rest > LARGE);
}

#[tokio::test]
async fn an_http2_stream_that_nobody_reads_is_reset_and_its_connection_goes_on() {
    let (address, _end) = listen(Limits {
        write: 4 * SHORT,
        ..limits()
    })
    .await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .handshake(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut get = |path: &str| {
        let request = Request::get(format!("http://{address}{path}")).body(Body::empty());
        client.send_request(request.unwrap())
    };
    let unread = get("/large").await.unwrap();
    let read = get("/large").await.unwrap();
    let mut bodies = (unread.into_body(), read.into_body());
    // One is read throughout, in pauses that are shorter than the limit; the other waits.
    let mut length = 0;
    for _ in 0..20 {
        let frame = bodies.1.frame().await.unwrap().unwrap();
        length += frame.data_ref().unwrap().len();
        tokio::time::sleep(SHORT).await;
    }
    assert!(length > 0);
    let mut kept = 0;
    let ended = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            match bodies.0.frame().await {
                Some(Ok(frame)) => kept += frame.data_ref().map_or(0, bytes::Bytes::len),
                Some(Err(error)) => return error.to_string(),
                None => return "whole".to_owned(),
            }
        }
    });
    let ended = ended.await.expect("an end");
    assert!(ended != "whole" && kept < LARGE, "{kept} bytes, {ended}");
    let small = get("/").await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(small.to_bytes(), "there", "the connection goes on");
}

/// A HEADERS frame with `GET /` for this stream (RFC 9113, section 6.2; RFC 7541, appendix A).
fn get(stream: u8) -> Vec<u8> {
    let fields = [0x82, 0x84, 0x86, 0x01, 1, b'a'];
    let mut frame = vec![0, 0, 6, 1, 0x05, 0, 0, 0, stream];
    frame.extend(fields);
    frame
}

#[tokio::test]
async fn a_stream_whose_connection_is_not_read_keeps_little_of_its_answer() {
    const PART: usize = 8 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let produced: Arc<[AtomicUsize; 2]> = Arc::default();
    let counts = Arc::clone(&produced);
    let request = Arc::new(AtomicUsize::new(0));
    let endless = Router::new().fallback(move || {
        let number = request.fetch_add(1, Ordering::Relaxed);
        let counts = Arc::clone(&counts);
        let parts = stream::repeat_with(move || {
            counts[number].fetch_add(PART, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from_static(&[0; PART]))
        });
        async { Body::from_stream(parts) }
    });
    let end = CancellationToken::new();
    let _end = end.clone().drop_guard();
    tokio::spawn(serve(listener, endless, limits(), end));
    let mut client = connect(address).await;
    client.write_all(PREFACE).await.unwrap();
    // SETTINGS_INITIAL_WINDOW_SIZE, and WINDOW_UPDATE of the connection: the client permits a GiB.
    client
        .write_all(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x40, 0, 0, 0])
        .await
        .unwrap();
    client
        .write_all(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0x40, 0, 0, 0])
        .await
        .unwrap();
    // Waits until no more is produced.
    let stalled = async |number: usize| {
        let mut before = 0;
        loop {
            tokio::time::sleep(2 * SHORT).await;
            let now = produced[number].load(Ordering::Relaxed);
            if now == before && now > 0 {
                return now;
            }
            before = now;
        }
    };
    client.write_all(&get(1)).await.unwrap();
    stalled(0).await;
    // The socket is full, so that the listener keeps everything of the second answer.
    client.write_all(&get(3)).await.unwrap();
    let kept = stalled(1).await;
    assert!(kept <= 8 * PART, "{kept}");
}
