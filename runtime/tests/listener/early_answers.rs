//! Answers that are decided before the body has arrived.

use std::net::SocketAddr;
use std::time::Duration;

use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{FOR_EVER, connect, head_of_answer, is_served, limits, listen, to_the_end};

fn head(path: &str, length: usize, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\n{more}content-length: {length}\r\n\r\n")
}

/// Requests on one connection, each with its body behind its head by `pause`.
async fn ask(stream: &mut TcpStream, path: &str, body: &[u8], pause: Duration) -> std::io::Result<String> {
    stream.write_all(head(path, body.len(), "").as_bytes()).await?;
    tokio::time::sleep(pause).await;
    stream.write_all(body).await?;
    head_of_answer(stream).await
}

#[rstest]
#[case::refused("/refuse", "http/1.1 401")]
#[case::absent("/nothing", "http/1.1 404")]
#[case::wrong_method("/", "http/1.1 405")]
#[tokio::test]
async fn a_connection_stays_usable_when_the_body_follows_a_refused_head(
    #[case] path: &str,
    #[case] expected: &str,
    #[values(0, 1, 5, 30)] behind_ms: u64,
    #[values(1, 200, 20_000, 300_000)] size: usize,
) {
    let (address, _end) = listen(limits()).await;
    let mut stream = connect(address).await;
    let body = vec![b'x'; size];
    for number in 0..12 {
        let pause = Duration::from_millis(behind_ms);
        let head = ask(&mut stream, path, &body, pause)
            .await
            .unwrap_or_else(|error| panic!("request {number}: {error}"));
        assert!(head.starts_with(expected), "{number}: {head}");
        assert!(!head.contains("connection: close"), "{number}: {head}");
    }
    let pause = Duration::from_millis(behind_ms);
    let head = ask(&mut stream, "/echo-length", &body, pause).await.unwrap();
    assert!(
        head.starts_with("http/1.1 200"),
        "and a body that is wanted is read: {head}"
    );
}

/// Sends all of a body before it reads, as the Python clients do.
async fn send_all_then_read(address: std::net::SocketAddr, size: usize, head: &str) -> (String, bool) {
    let mut stream = connect(address).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let body = vec![b'x'; size];
    let is_sent = stream.write_all(&body).await.is_ok();
    let answer = to_the_end(&mut stream).await;
    (String::from_utf8(answer).unwrap().to_ascii_lowercase(), is_sent)
}

#[rstest]
#[case::small(20_000)]
#[case::medium(1_000_000)]
#[case::as_large_as_a_message(4_000_000)]
#[case::too_large_to_wait_for(9_000_000)]
#[tokio::test]
async fn a_client_that_sends_the_whole_body_first_reads_the_refusal_every_time(#[case] size: usize) {
    let (address, _end) = listen(limits()).await;
    for number in 0..20 {
        let head = head("/refuse", size, "connection: close\r\n");
        let (answer, is_sent) = send_all_then_read(address, size, &head).await;
        assert!(is_sent, "{number}: reset while sending");
        assert!(answer.starts_with("http/1.1 401"), "{number}: {answer:?}");
    }
}

/// Sends a head until it is answered without the wait for a body, which takes a second each time. A busy machine may pause
/// once.
async fn refused_at_once(address: SocketAddr, head: &str) -> (TcpStream, String) {
    for _ in 0..3 {
        let mut stream = connect(address).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = timeout(Duration::from_millis(500), head_of_answer(&mut stream));
        if let Ok(answer) = answer.await {
            return (stream, answer.unwrap());
        }
    }
    panic!("the answer waits for the body");
}

#[tokio::test]
async fn a_refused_large_body_is_answered_at_once_with_connection_close() {
    let (address, _end) = listen(limits()).await;
    let (mut stream, answer) = refused_at_once(address, &head("/refuse", 5_000_000, "")).await;
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "closed in order");
    drop(stream);
    assert!(is_served(address).await);
}

#[tokio::test]
async fn a_refusal_waits_for_a_missing_body_for_a_limited_time() {
    let (address, _end) = listen(limits()).await;
    let mut stream = connect(address).await;
    stream
        .write_all(head("/refuse", 1000, "").as_bytes())
        .await
        .unwrap();
    let answer = timeout(Duration::from_secs(3), head_of_answer(&mut stream));
    let answer = answer.await.expect("a bounded wait").unwrap();
    assert!(answer.starts_with("http/1.1 401"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    // The stream stays open here, and still gives its place back.
    assert!(timeout(FOR_EVER, is_served(address)).await.expect("a place"));
}

#[tokio::test]
async fn an_endless_body_releases_its_place() {
    let (address, _end) = listen(limits()).await;
    let mut stream = connect(address).await;
    let head = "POST /refuse HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let sending = tokio::spawn(async move {
        let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
        let mut sent = 0_usize;
        while stream.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
        sent
    });
    let sent = timeout(FOR_EVER, sending).await.expect("an end").unwrap();
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes were read");
    assert!(is_served(address).await);
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_refused_without_being_asked_for_the_body() {
    let (address, _end) = listen(limits()).await;
    let request = head("/refuse", 1000, "expect: 100-continue\r\n");
    let (_stream, answer) = refused_at_once(address, &request).await;
    assert!(answer.starts_with("http/1.1 401"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_asked_for_a_body_that_is_wanted() {
    let (address, _end) = listen(limits()).await;
    let mut stream = connect(address).await;
    for _ in 0..2 {
        let request = head("/echo-length", 4, "expect: 100-continue\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let asked = head_of_answer(&mut stream).await.unwrap();
        assert!(asked.starts_with("http/1.1 100"), "{asked}");
        stream.write_all(b"body").await.unwrap();
        let answer = head_of_answer(&mut stream).await.unwrap();
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_100_reads_the_refusal_too() {
    let (address, _end) = listen(limits()).await;
    for number in 0..20 {
        let head = head("/refuse", 1_000_000, "expect: 100-continue\r\n");
        let (answer, is_sent) = send_all_then_read(address, 1_000_000, &head).await;
        assert!(is_sent, "{number}: reset while sending");
        assert!(answer.starts_with("http/1.1 401"), "{number}: {answer:?}");
    }
}

#[tokio::test]
async fn a_panic_in_a_request_is_an_answer_and_its_connection_serves_the_next_one() {
    let (address, _end) = listen(limits()).await;
    let mut stream = connect(address).await;
    for (path, expected) in [("/panic", "http/1.1 500"), ("/", "http/1.1 200")] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = head_of_answer(&mut stream).await.unwrap();
        assert!(head.starts_with(expected), "{head}");
    }
}
