//! Accepting connections, and letting them finish.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// For the head of a request, the wait for the next one on an open connection included: longer than the idle
/// limit of usual gateways (60 s), so that it is the gateway who closes.
const HEAD_LIMIT: Duration = Duration::from_secs(90);

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// For the head of a request in bytes, and for what is read ahead of a body. Our largest token has a few KiB.
const HEAD_SIZE: u32 = 64 * 1024;

/// Streams that one HTTP/2 connection may have open. A gateway that needs more opens another connection; one
/// stranger's connection must not weigh much more than another's.
const STREAMS: u32 = 32;

/// After the kernel refused a connection (out of file descriptors), before it is asked again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// While a connection has sent a part of the HTTP/2 preface and no more, before it is looked at again.
const PREFACE_PAUSE: Duration = Duration::from_millis(20);

/// One listener's limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub(crate) connections: usize,

    /// How long open requests may go on after the end was called.
    pub(crate) drain: Duration,

    /// How long a connection may take for the bytes that tell its version of HTTP.
    pub(crate) first_bytes: Duration,

    /// How often the other end of an HTTP/2 connection is asked whether it is there, and how long it may take
    /// to answer. Without, the listener speaks HTTP/1.1 alone.
    pub(crate) http2_ping: Option<Duration>,
}

/// Serves until `end` is called, then takes no more connections, lets requests finish and returns.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits, end: CancellationToken) {
    let builder = Arc::new(builder(limits));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    // Connections that outlive the drain end with this.
    let cut = CancellationToken::new();
    let _cut_on_return = cut.clone().drop_guard();

    loop {
        let accepted = end.run_until_cancelled(async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        });
        let Some((place, accepted)) = accepted.await else {
            break;
        };
        let stream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                // A connection that died in the queue is nothing; a lack of descriptors passes.
                tracing::debug!(%error, "Unable to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small JSON answers must not wait for an acknowledgement (Nagle).
        let _ = stream.set_nodelay(true);
        let watcher = graceful.watcher();
        let (builder, router, cut) = (Arc::clone(&builder), router.clone(), cut.clone());
        let end = end.clone();
        tokio::spawn(async move {
            // hyper waits for these bytes without a limit, and its other limits begin after them.
            let begun = tokio::time::timeout(limits.first_bytes, begins(&stream));
            if !matches!(end.run_until_cancelled(begun).await, Some(Ok(Ok(())))) {
                return;
            }
            let service = TowerToHyperService::new(router);
            let connection = builder.serve_connection(TokioIo::<TcpStream>::new(stream), service);
            let served = cut
                .run_until_cancelled(watcher.watch(connection.into_owned()))
                .await;
            if let Some(Err(error)) = served {
                tracing::trace!(%error, "A connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("Requests were still open when the time to stop was over");
    }
}

fn builder(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_SIZE as usize);
    let Some(ping) = limits.http2_ping else {
        return builder.http1_only();
    };
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_SIZE)
        .keep_alive_interval(ping)
        .keep_alive_timeout(ping);
    builder
}

/// Waits until what a connection has sent tells its version of HTTP, or that it has ended. Takes nothing away.
async fn begins(stream: &TcpStream) -> io::Result<()> {
    let mut bytes = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut bytes).await?;
        let seen = bytes.get(..length).unwrap_or_default();
        if seen.is_empty() || seen == PREFACE || !PREFACE.starts_with(seen) {
            return Ok(());
        }
        // The socket stays readable, so that only time tells whether more has come.
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}

/// The router must not be able to fail: a failure would close the connection without an answer.
const _: fn() = || {
    fn infallible<S: tower::Service<axum::extract::Request, Error = Infallible>>() {}
    infallible::<Router>();
};

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use axum::routing::get;
    use rstest::rstest;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::sync::DropGuard;

    use super::*;

    /// Long beside every limit of these tests: what is not over by then is never over.
    const FOR_EVER: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(50);

    /// An empty SETTINGS frame (RFC 9113, section 6.5).
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

    async fn listen(limits: Limits) -> (SocketAddr, DropGuard) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "there" }));
        let end = CancellationToken::new();
        tokio::spawn(serve(listener, router, limits, end.clone()));
        (address, end.drop_guard())
    }

    fn limits() -> Limits {
        Limits {
            connections: 1,
            drain: FOR_EVER,
            first_bytes: FOR_EVER,
            http2_ping: Some(FOR_EVER),
        }
    }

    /// Everything that comes until the other end closes.
    async fn to_the_end(stream: &mut TcpStream) -> Vec<u8> {
        let mut received = Vec::new();
        let end = stream.read_to_end(&mut received);
        // A reset is an end, too.
        let _ = tokio::time::timeout(FOR_EVER, end).await.expect("an end");
        received
    }

    async fn is_served(address: SocketAddr) -> bool {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        to_the_end(&mut stream).await.ends_with(b"there")
    }

    #[rstest]
    #[case::nothing(b"")]
    #[case::a_part_of_the_preface(b"PRI * HTTP/2.0\r\n")]
    #[tokio::test]
    async fn a_connection_that_does_not_say_its_version_gives_its_place_back(#[case] sent: &[u8]) {
        let first_bytes = SHORT;
        let (address, _end) = listen(Limits {
            first_bytes,
            ..limits()
        })
        .await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(sent).await.unwrap();
        assert!(to_the_end(&mut silent).await.is_empty());
        assert!(is_served(address).await);
    }

    #[tokio::test]
    async fn a_preface_in_two_parts_is_one() {
        let (address, _end) = listen(limits()).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
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
    async fn an_http2_connection_that_answers_no_ping_ends() {
        let http2_ping = Some(SHORT);
        let (address, _end) = listen(Limits {
            http2_ping,
            ..limits()
        })
        .await;
        let mut mute = TcpStream::connect(address).await.unwrap();
        mute.write_all(PREFACE).await.unwrap();
        mute.write_all(SETTINGS).await.unwrap();
        to_the_end(&mut mute).await;
        assert!(is_served(address).await);
    }

    #[tokio::test]
    async fn a_listener_for_http1_does_not_speak_http2() {
        let http2_ping = None;
        let (address, _end) = listen(Limits {
            http2_ping,
            ..limits()
        })
        .await;
        let mut stream = TcpStream::connect(address).await.unwrap();
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
    #[case::as_large_as_in_http1(40 * 1024, StatusCode::OK)]
    #[case::larger(70 * 1024, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)]
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

    #[tokio::test]
    async fn a_silent_connection_does_not_hold_the_end_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let end = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, Router::new(), limits(), end.clone()));
        let mut silent = TcpStream::connect(address).await.unwrap();
        end.cancel();
        to_the_end(&mut silent).await;
        tokio::time::timeout(FOR_EVER / 2, serving)
            .await
            .expect("an end")
            .unwrap();
    }
}
