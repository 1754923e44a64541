//! Tests the ports of a Pod on real sockets.

use std::time::Duration;

use behalf_contract::headers;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::binary::{client, stop};
use crate::pod::PodProcess;
use crate::support::{HOST_KEY, World};

pub(crate) async fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads the next answer. Its body has a `Content-Length`.
pub(crate) async fn answer(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).await?;
    Ok(head)
}

/// Sends a request with 20,000 bytes that are no JSON, the body 2 ms after the head. `line` is its method and path. Returns the
/// head of the answer.
pub(crate) async fn send_in_two_writes(
    stream: &mut TcpStream,
    line: &str,
    headers: &str,
) -> std::io::Result<String> {
    let head = format!("{line} HTTP/1.1\r\n{headers}content-length: 20000\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let body = vec![b'x'; 20_000];
    stream.write_all(&body).await?;
    timeout(Duration::from_secs(10), answer(stream)).await?
}

/// Sends a request with a body of 4 MB on a connection of its own. Returns the head of the answer.
pub(crate) async fn send_large_body(address: &str, line: &str, headers: &str) -> String {
    let mut stream = connect(address).await;
    let head = format!("{line} HTTP/1.1\r\n{headers}content-length: 4000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; 4_000_000]).await.unwrap();
    let answered = timeout(Duration::from_secs(10), answer(&mut stream));
    answered.await.unwrap().unwrap()
}

#[tokio::test]
async fn a_connection_stays_usable_after_refusals_on_the_inner_hop() {
    let world = World::start().await;
    let mut pod = PodProcess::start(&world).await;
    let host_key = format!("{}: {HOST_KEY}\r\n", headers::HOST_KEY);
    let compressed = format!("{host_key}content-encoding: gzip\r\n");
    for (more, expected) in [
        ("", "http/1.1 403"),
        (compressed.as_str(), "http/1.1 415"),
        (host_key.as_str(), "http/1.1 400"), // no JSON
    ] {
        let headers = format!("host: {}\r\n{more}", pod.mcp);
        let mut stream = connect(&pod.mcp).await;
        for number in 0..8 {
            let head = send_in_two_writes(&mut stream, "POST /mcp", &headers).await;
            let head = head.unwrap_or_else(|error| panic!("{more} {number}: {error}"));
            assert!(head.starts_with(expected), "{head}");
            assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        }
    }
    let headers = format!("host: {}\r\n{host_key}", pod.mcp);
    let head = send_large_body(&pod.mcp, "POST /mcp", &headers).await;
    assert!(head.starts_with("http/1.1 413"), "{head}");
    stop(&pod.child);
    assert!(pod.child.wait().await.unwrap().success());
}

#[tokio::test]
async fn answers_probes_while_idle_connections_fill_the_port() {
    let world = World::start().await;
    let pod = PodProcess::start(&world).await;
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(connect(&pod.probes).await);
    }
    let http = client();
    for _ in 0..10 {
        let probe = http.get(format!("http://{}/livez", pod.probes)).send();
        let answer = timeout(Duration::from_secs(2), probe)
            .await
            .expect("in time")
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["connection"], "close");
    }
    let newest = held.last_mut().unwrap();
    let closed = timeout(Duration::from_secs(10), newest.read(&mut [0])).await;
    assert_eq!(closed.expect("silence is bounded").unwrap_or(0), 0);
}
