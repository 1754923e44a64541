//! Connections to the server, against one that answers byte by byte.

use std::time::Duration;

use axum::body::Bytes;
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::*;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

async fn server() -> (TcpListener, Upstream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/mcp", listener.local_addr().unwrap());
    let key = HostKey::from_random(&[0; 32]);
    let upstream = Upstream::new(&Url::parse(&endpoint).unwrap(), &key).unwrap();
    (listener, upstream)
}

/// Reads one request without a body, and answers it.
async fn answer(stream: &mut TcpStream, text: &str) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut request).await.unwrap() > 0);
    }
    assert!(request.starts_with(b"GET /mcp HTTP/1.1\r\n"));
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn get(upstream: &Upstream) -> Bytes {
    let answer = upstream.send(Request::new(Body::empty())).await.unwrap();
    answer.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn an_answer_that_was_read_to_its_end_leaves_its_connection_to_the_next_request() {
    let (listener, upstream) = server().await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let empty = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
    let serves = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        for text in [ANSWER, chunked, empty, ANSWER] {
            answer(&mut stream, text).await;
        }
    };
    let calls = async {
        for expected in ["hi", "hi", "", "hi"] {
            assert_eq!(get(&upstream).await, expected);
        }
    };
    tokio::join!(serves, calls);
    assert!(listener.accept().now_or_never().is_none(), "one connection");
}

#[tokio::test]
async fn parallel_requests_have_a_connection_each() {
    let (listener, upstream) = server().await;
    let serves = async {
        let (mut one, _) = listener.accept().await.unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        answer(&mut other, ANSWER).await;
        answer(&mut one, ANSWER).await;
    };
    let (one, other, ()) = tokio::join!(get(&upstream), get(&upstream), serves);
    assert_eq!((&*one, &*other), (&b"hi"[..], &b"hi"[..]));
}

/// The clock only jumps when no task can run, so that the runtime has read what the sockets report.
#[tokio::test(start_paused = true)]
async fn a_connection_that_the_server_closed_is_replaced() {
    let (listener, upstream) = server().await;
    let serves = async {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            answer(&mut stream, ANSWER).await;
        }
    };
    let calls = async {
        get(&upstream).await;
        sleep(Duration::from_millis(1)).await;
        get(&upstream).await
    };
    let (answered, ()) = tokio::join!(calls, serves);
    assert_eq!(answered, "hi");
}

#[tokio::test]
async fn an_answer_that_is_dropped_before_its_end_closes_its_connection() {
    let (listener, upstream) = server().await;
    let serves = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh").await;
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    };
    let call = async { drop(upstream.send(Request::new(Body::empty())).await.unwrap()) };
    tokio::join!(serves, call);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_an_error() {
    let (listener, upstream) = server().await;
    let serves = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh").await;
    };
    let call = async {
        let answer = upstream.send(Request::new(Body::empty())).await.unwrap();
        assert!(answer.into_body().collect().await.is_err());
    };
    tokio::join!(serves, call);
}

#[tokio::test]
async fn an_answer_that_arrives_fast_is_read_in_parts_of_at_most_eight_kib() {
    const LENGTH: usize = 256 * 1024;
    let (listener, upstream) = server().await;
    let serves = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        answer(&mut stream, &(head + &"x".repeat(LENGTH))).await;
    };
    let call = async {
        let answer = upstream.send(Request::new(Body::empty())).await.unwrap();
        let (mut body, mut read) = (answer.into_body(), 0);
        while let Some(part) = body.frame().await {
            let part = part.unwrap().into_data().unwrap();
            assert!(part.len() <= 8 * 1024, "{}", part.len());
            read += part.len();
            // The socket has more by now than the last read took.
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(read, LENGTH);
    };
    tokio::join!(serves, call);
}

#[tokio::test]
async fn an_answer_whose_head_has_more_than_eight_kib_is_an_error() {
    let (listener, upstream) = server().await;
    let serves = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let field = format!("X: {}\r\n", "x".repeat(9 * 1024));
        answer(
            &mut stream,
            &format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 0\r\n\r\n"),
        )
        .await;
    };
    let call = upstream.send(Request::new(Body::empty()));
    let (answered, ()) = tokio::join!(call, serves);
    assert!(matches!(answered, Err(UpstreamError::Broken(_))));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_no_connection_is_given_up_after_a_second_and_a_half() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Two connections fill the queue of a listener that has room for one. The kernel ignores the third.
    let _queue = [(); 2].map(|()| std::net::TcpStream::connect(address).unwrap());
    let began = Instant::now();
    let connected = connection::connect(address).await;
    assert_eq!(connected.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed(), Duration::from_millis(1500));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_closes_before_usual_servers_close_it() {
    let (listener, upstream) = server().await;
    let serves = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, ANSWER).await;
        let idle = Instant::now();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        idle.elapsed()
    };
    let (idle, _) = tokio::join!(serves, get(&upstream));
    assert!(idle < Duration::from_secs(5), "{idle:?}");
}

#[test]
fn refuses_an_endpoint_that_is_not_loopback() {
    let key = HostKey::from_random(&[0; 32]);
    for endpoint in [
        "http://10.0.0.1:3000/mcp",
        "http://127.0.0.1/mcp",
        "https://127.0.0.1:3000/mcp",
        "http://localhost:3000/mcp",
    ] {
        assert!(
            Upstream::new(&Url::parse(endpoint).unwrap(), &key).is_err(),
            "{endpoint}"
        );
    }
    assert!(Upstream::new(&Url::parse("http://[::1]:3000/mcp").unwrap(), &key).is_ok());
}

#[test]
fn debug_does_not_show_the_host_key() {
    let key = HostKey::from_random(&[9; 32]);
    let upstream = Upstream::new(&Url::parse("http://127.0.0.1:3000/mcp").unwrap(), &key).unwrap();
    let key = key.header_value();
    assert!(!format!("{upstream:?}").contains(key.to_str().unwrap()));
}
