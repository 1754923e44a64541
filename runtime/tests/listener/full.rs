//! A listener whose connections are all in use.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::Request;
use behalf_runtime::Limits;
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{
    FOR_EVER, PREFACE, SETTINGS, SHORT, connect, head_of_answer, is_served, limits, listen, to_the_end,
};

/// The limits of a probe port with very long times: only the number of places ends a connection.
fn patient_probes() -> Limits {
    Limits {
        first_bytes: FOR_EVER,
        head: FOR_EVER,
        ..Limits::probes(FOR_EVER)
    }
}

async fn occupy(address: SocketAddr, sent: &[u8]) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..patient_probes().connections {
        let mut stream = connect(address).await;
        stream.write_all(sent).await.unwrap();
        held.push(stream);
    }
    held
}

#[rstest::rstest]
#[case::silent(b"")]
#[case::in_the_head(b"GET / HTTP/1.1\r\n")]
#[tokio::test]
async fn at_the_limit_a_probe_is_served_and_the_oldest_connection_closes(#[case] sent: &[u8]) {
    let (address, _end) = listen(patient_probes()).await;
    let mut held = occupy(address, sent).await;
    for number in 0..20 {
        assert!(is_served(address).await, "probe {number}");
    }
    assert!(to_the_end(&mut held[0]).await.is_empty(), "the oldest was closed");
    let newest = held.last_mut().unwrap();
    let rest: &[u8] = if sent.is_empty() {
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    } else {
        b"host: a\r\n\r\n"
    };
    newest.write_all(rest).await.unwrap();
    assert!(head_of_answer(newest).await.unwrap().starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_probe_port_keeps_no_connection_after_its_answer() {
    let (address, _end) = listen(patient_probes()).await;
    let mut stream = connect(address).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = String::from_utf8(to_the_end(&mut stream).await).unwrap();
    assert!(
        answer.contains("connection: close") && answer.ends_with("there"),
        "{answer}"
    );
}

/// A request whose handler waits for its body.
async fn begin_request(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address).await;
    stream
        .write_all(
            b"POST /echo-length HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nexpect: 100-continue\r\n\r\n",
        )
        .await
        .unwrap();
    let head = head_of_answer(&mut stream).await.unwrap();
    assert!(head.starts_with("http/1.1 100"), "{head}");
    stream
}

async fn get(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await?;
    head_of_answer(stream).await
}

async fn http2(address: SocketAddr) -> (SendRequest<Body>, tokio::task::JoinHandle<hyper::Result<()>>) {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    (client, tokio::spawn(connection))
}

async fn get_http2(client: &mut SendRequest<Body>, path: &str) -> Body {
    let request = Request::get(format!("http://a{path}")).body(Body::empty());
    let answer = timeout(FOR_EVER, client.send_request(request.unwrap())).await;
    Body::new(answer.expect("an answer").unwrap().into_body())
}

#[tokio::test]
async fn at_the_limit_a_new_client_is_served_and_the_longest_idle_connection_closes() {
    let (address, _end) = listen(Limits {
        connections: 3,
        // The wait for the next request frees no place in the time of this test.
        head: 5 * FOR_EVER,
        ..limits()
    })
    .await;
    let mut under_way = begin_request(address).await;
    let (mut older, mut newer) = (connect(address).await, connect(address).await);
    get(&mut newer).await.unwrap();
    get(&mut older).await.unwrap();
    get(&mut newer).await.unwrap();
    assert!(is_served(address).await);
    assert!(to_the_end(&mut older).await.is_empty());
    assert!(get(&mut newer).await.unwrap().starts_with("http/1.1 200"));
    under_way.write_all(b"x").await.unwrap();
    let answer = head_of_answer(&mut under_way).await.unwrap();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
}

#[tokio::test]
async fn while_every_connection_has_a_request_a_new_one_waits() {
    let (address, _end) = listen(Limits {
        connections: 2,
        ..limits()
    })
    .await;
    let mut held = [begin_request(address).await, begin_request(address).await];
    let waiting = tokio::spawn(is_served(address));
    tokio::time::sleep(40 * SHORT).await;
    assert!(!waiting.is_finished());
    held[0].write_all(b"x").await.unwrap();
    assert!(waiting.await.unwrap());
    held[1].write_all(b"x").await.unwrap();
    for stream in &mut held {
        let answer = head_of_answer(stream).await.unwrap();
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn http2_connections_have_a_bound_of_their_own_which_idle_ones_do_not_hold() {
    let (address, _end) = listen(Limits {
        connections: 4,
        ..limits()
    })
    .await;
    let (mut idle, idle_connection) = http2(address).await;
    get_http2(&mut idle, "/").await.collect().await.unwrap();
    let (mut busy, busy_connection) = http2(address).await;
    let unread = get_http2(&mut busy, "/large").await;
    let ended = timeout(FOR_EVER, idle_connection).await;
    ended.expect("an end").unwrap().unwrap();

    let mut waiting = connect(address).await;
    waiting.write_all(PREFACE).await.unwrap();
    waiting.write_all(SETTINGS).await.unwrap();
    let mut frame = [0; 9];
    let unanswered = timeout(40 * SHORT, waiting.read(&mut frame)).await;
    assert!(unanswered.is_err(), "{unanswered:?}");
    assert!(is_served(address).await, "HTTP/1.1 goes on");
    assert!(!busy_connection.is_finished());
    drop(unread);
    let served = timeout(FOR_EVER / 2, waiting.read_exact(&mut frame)).await;
    served.expect("a place").unwrap();
}
