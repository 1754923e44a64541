//! Which version of HTTP is spoken, and how large a head may be.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use behalf_runtime::{Limits, serve};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::support::{PREFACE, SETTINGS, SHORT, connect, is_served, limits, listen, to_the_end};

#[rstest]
#[case::nothing(b"")]
#[case::a_part_of_the_preface(b"PRI * HTTP/2.0\r\n")]
#[tokio::test]
async fn a_connection_without_a_complete_preface_is_closed(#[case] sent: &[u8]) {
    let first_bytes = SHORT;
    let (address, _end) = listen(Limits {
        first_bytes,
        ..limits()
    })
    .await;
    let mut silent = connect(address).await;
    silent.write_all(sent).await.unwrap();
    assert!(to_the_end(&mut silent).await.is_empty());
    assert!(is_served(address).await);
}

#[tokio::test]
async fn an_unfinished_head_is_closed() {
    let (address, _end) = listen(Limits {
        head: SHORT,
        ..limits()
    })
    .await;
    let mut slow = connect(address).await;
    slow.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    to_the_end(&mut slow).await;
    assert!(is_served(address).await);
}

#[tokio::test]
async fn a_preface_in_two_parts_is_accepted() {
    let (address, _end) = listen(limits()).await;
    let mut stream = connect(address).await;
    let (head, tail) = PREFACE.split_at(7);
    stream.write_all(head).await.unwrap();
    tokio::task::yield_now().await;
    stream.write_all(tail).await.unwrap();
    stream.write_all(SETTINGS).await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the type of SETTINGS");
    let mut settings = vec![0; usize::from(frame[2])];
    stream.read_exact(&mut settings).await.unwrap();
    let streams = settings.chunks(6).find(|setting| setting[..2] == [0, 3]);
    assert_eq!(
        streams,
        Some(&[0, 3, 0, 0, 0, 32][..]),
        "SETTINGS_MAX_CONCURRENT_STREAMS"
    );
}

#[tokio::test]
async fn a_listener_for_http1_does_not_speak_http2() {
    let (address, _end) = listen(Limits {
        http2: None,
        ..limits()
    })
    .await;
    let mut stream = connect(address).await;
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(SETTINGS).await.unwrap();
    let answer = to_the_end(&mut stream).await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
        "{answer:?}"
    );
    assert!(is_served(address).await);
}

#[rstest]
#[case::as_large_as_in_http1(20 * 1024, StatusCode::OK)]
#[case::larger(40 * 1024, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)]
#[tokio::test]
async fn the_head_of_an_http2_request_has_the_bound_of_http1(
    #[case] size: usize,
    #[case] expected: StatusCode,
) {
    let (address, _end) = listen(limits()).await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{address}/")).header("x-large", "x".repeat(size));
    let response = client
        .send_request(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), expected);
}

/// hyper removes the body over HTTP/1 only, and a client resets a stream with one.
#[tokio::test]
async fn the_answer_to_head_has_no_body_over_http2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::from("body"))));
    tokio::spawn(serve(listener, answers, limits(), CancellationToken::new()));
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    for (method, expected) in [("HEAD", ""), ("GET", "body")] {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{address}/"));
        let response = client
            .send_request(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected, "{method}");
    }
}

#[tokio::test]
async fn every_answer_has_nosniff() {
    let (address, _end) = listen(limits()).await;
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("DELETE", "/"),
        ("POST", "/refuse"),
    ] {
        let mut stream = connect(address).await;
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = crate::support::head_of_answer(&mut stream).await.unwrap();
        assert!(head.contains("\r\nx-content-type-options: nosniff\r\n"), "{head}");
    }
}
