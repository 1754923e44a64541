//! Tests of both ports of a whole sidecar on real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use behalf_auth_sidecar::lifecycle::Sidecar;
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::World;

const JSON: &str = "content-type: application/json\r\n";
const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";
const ORIGIN: &str = "content-type: application/json\r\norigin: https://evil.example\r\n";
const TEXT: &str = "content-type: text/plain\r\n";

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads the next answer and returns its head.
async fn answer(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(Duration::from_secs(20), stream.read_u8()).await??);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).await?;
    Ok(head)
}

fn head(method: &str, path: &str, headers: &str, length: usize) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{headers}content-length: {length}\r\n\r\n")
}

#[rstest]
#[case::no_token("POST", "/mcp", JSON, 401)]
#[case::foreign_origin("POST", "/mcp", ORIGIN, 403)]
#[case::wrong_method("PUT", "/mcp", JSON, 405)]
#[case::wrong_method_of_oauth("POST", "/.well-known/oauth-authorization-server", JSON, 405)]
#[case::wrong_method_for_people("POST", "/callback", FORM, 405)]
#[case::wrong_type("POST", "/register", TEXT, 415)]
#[case::wrong_type_of_form("POST", "/token", TEXT, 415)]
#[case::absent("POST", "/nothing-here", JSON, 404)]
#[tokio::test]
async fn a_connection_stays_usable_after_every_refusal(
    #[case] method: &str,
    #[case] path: &str,
    #[case] headers: &str,
    #[case] status: u16,
) {
    let world = World::start().await;
    let sidecar = Sidecar::start(world.loaded(), world.environment()).await.unwrap();
    let mut stream = connect(sidecar.public()).await;
    for (number, size) in [1, 500, 20_000, 500, 300_000, 1, 20_000, 500, 1, 500]
        .into_iter()
        .enumerate()
    {
        stream
            .write_all(head(method, path, headers, size).as_bytes())
            .await
            .unwrap();
        // The body follows the head after half a millisecond or more.
        tokio::time::sleep(Duration::from_millis(number as u64 / 2)).await;
        stream.write_all(&vec![b'x'; size]).await.unwrap();
        let head = answer(&mut stream)
            .await
            .unwrap_or_else(|error| panic!("request {number}: {error}"));
        assert!(
            head.starts_with(&format!("http/1.1 {status}")),
            "{number}: {head}"
        );
        assert!(!head.contains("connection: close"), "{number}: {head}");
        assert!(
            head.contains("x-content-type-options: nosniff"),
            "{number}: {head}"
        );
    }
    drop(stream);
    sidecar.stop().await;
}

#[rstest]
#[case::no_token("/mcp", JSON, 401)]
#[case::too_large("/register", JSON, 413)]
#[case::too_large_a_form("/token", FORM, 413)]
#[tokio::test]
async fn a_client_that_sends_the_whole_body_first_reads_the_refusal_every_time(
    #[case] path: &str,
    #[case] headers: &str,
    #[case] status: u16,
    #[values(60_000, 1_000_000, 4_000_000, 6_000_000)] size: usize,
) {
    let world = World::start().await;
    let sidecar = Sidecar::start(world.loaded(), world.environment()).await.unwrap();
    let body = vec![b'x'; size];
    for number in 0..12 {
        let mut stream = connect(sidecar.public()).await;
        stream
            .write_all(head("POST", path, headers, size).as_bytes())
            .await
            .unwrap();
        stream
            .write_all(&body)
            .await
            .unwrap_or_else(|error| panic!("{number}: {error} while sending"));
        let head = answer(&mut stream)
            .await
            .unwrap_or_else(|error| panic!("{number}: {error}"));
        assert!(
            head.starts_with(&format!("http/1.1 {status}")),
            "{number}: {head}"
        );
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn idle_connections_to_the_internal_port_do_not_block_a_probe() {
    let world = World::start().await;
    let sidecar = Sidecar::start(world.loaded(), world.environment()).await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(connect(sidecar.internal()).await);
    }
    for _ in 0..10 {
        let mut probe = connect(sidecar.internal()).await;
        probe
            .write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let head = timeout(Duration::from_secs(2), answer(&mut probe)).await;
        let head = head.expect("in the time of a probe").unwrap();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("connection: close"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
    let newest = idle.last_mut().unwrap();
    let closed = timeout(Duration::from_secs(10), newest.read(&mut [0])).await;
    assert_eq!(closed.expect("silence is bounded").unwrap_or(0), 0);
    sidecar.stop().await;
}
