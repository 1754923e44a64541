//! Accepts connections, serves them within limits, and lets them finish.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::header::{CONNECTION, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, Version};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection_slots::ConnectionSlots;
use crate::connection_state::ConnectionState;
use crate::early_answer::after_body;
use crate::guarded_body;
use crate::http2::{Streams, watch_answer};
use crate::limits::{Http2Limits, Limits, WhenFull};
use crate::service::Service;
use crate::stream::ClientStream;

/// The first bytes of an HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Number of bytes that an HTTP/2 client may send ahead of the reader on one stream.
const STREAM_WINDOW: u32 = 64 * 1024;

/// Pause after the kernel refused a connection (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Pauses before checking again a connection that has sent only a part of the HTTP/2 preface: the first
/// pause, and the longest after doubling.
const PREFACE_PAUSE: Duration = Duration::from_millis(20);
const MAX_PREFACE_PAUSE: Duration = Duration::from_millis(500);

/// Time that an idle HTTP/2 connection without a stream has to end after GOAWAY.
const GOAWAY_GRACE: Duration = Duration::from_secs(10);

/// The time after GOAWAY when another connection waits for the slot. It is long enough for a request that crosses
/// the GOAWAY.
const GOAWAY_GRACE_WHEN_FULL: Duration = Duration::from_millis(200);

/// Serves connections until `end` is cancelled. Then it accepts no more connections, lets requests finish and
/// returns.
///
/// An answer of the service before the end of the request's body never breaks the connection without an
/// announcement. A panic in a request is answered with 500. Every answer carries `X-Content-Type-Options: nosniff`.
/// Every request has the address of its peer in its extensions (`ConnectInfo<SocketAddr>`).
pub async fn serve(listener: TcpListener, service: impl Service, limits: Limits, end: CancellationToken) {
    serve_and_drain(listener, service, limits, CancellationToken::new(), end).await;
}

/// Serves connections like [`serve`]. After `drain` is cancelled, it also asks clients for other connections: each answer over
/// HTTP/1 closes its connection, and HTTP/2 connections get a GOAWAY as soon as they have had a request. New connections are
/// still served, because a gateway may not know yet that this Pod stops.
pub async fn serve_and_drain(
    listener: TcpListener,
    service: impl Service,
    limits: Limits,
    drain: CancellationToken,
    end: CancellationToken,
) {
    let tasks = TaskTracker::new();
    // Cancelling this closes the connections that are still open after `limits.finish`.
    let force_close = CancellationToken::new();
    let _force_close_on_return = force_close.clone().drop_guard();
    let slots = ConnectionSlots::new(limits.connections, limits.when_full, force_close);
    let http2_slots = limits.http2.map_or(0, |http2| http2.connections);
    let http2_slots = ConnectionSlots::new(http2_slots, WhenFull::CloseIdle, CancellationToken::new());
    let http2_slots = Arc::new(http2_slots);
    while let Some(accepted) = end.run_until_cancelled(slots.accept(&listener)).await {
        let (stream, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // A connection that died in the queue needs no action, and a lack of descriptors passes.
                tracing::debug!(%error, "Unable to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small answers must not wait for an acknowledgement (Nagle).
        let _ = stream.set_nodelay(true);
        let (service, drain, end) = (service.clone(), drain.clone(), end.clone());
        let http2_slots = Arc::clone(&http2_slots);
        tasks.spawn(async move {
            let served = Box::pin(serve_connection(
                stream,
                service,
                limits,
                slot.state(),
                &http2_slots,
                drain,
                end,
            ));
            slot.run_until_evicted(served).await;
        });
    }
    drop(listener);
    tasks.close();
    if timeout(limits.finish, tasks.wait()).await.is_err() {
        tracing::warn!("Stopping with requests still open: the grace period has ended");
    }
}

/// Answers a request. This is a function and no layer of a router: `axum` allocates a copy of every layer for each request.
async fn answer(
    service: impl Service,
    mut request: Request,
    peer: SocketAddr,
    state: ConnectionState,
    drain: CancellationToken,
) -> Response {
    // The connection stays busy until the body was sent.
    let busy = state.busy();
    let is_http1 = request.version() < Version::HTTP_2;
    let is_head = request.method() == Method::HEAD;
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = watch_answer(after_body(service, request).await);
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_http1 && drain.is_cancelled() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // hyper would send the body over HTTP/2, which a client treats as an error.
    response.map(|body| guarded_body(if is_head { Body::empty() } else { body }, busy))
}

async fn serve_connection(
    stream: TcpStream,
    service: impl Service,
    limits: Limits,
    state: ConnectionState,
    http2_slots: &ConnectionSlots,
    drain: CancellationToken,
    end: CancellationToken,
) {
    // A connection that has ended has no peer address.
    let Ok(peer) = stream.peer_addr() else { return };
    let begins = async {
        // hyper waits for these bytes without a limit. Its other limits begin after them.
        let is_http2 = is_http2(&stream).await.ok()?;
        if is_http2 && limits.http2.is_some() {
            http2_slots.acquire(state.clone()).await.ok().map(Some)
        } else {
            Some(None)
        }
    };
    let begins = timeout(limits.first_bytes, begins);
    let begins = tokio::select! {
        biased;
        begins = begins => begins,
        () = state.close_requested() => return,
        () = end.cancelled() => return,
    };
    let Ok(Some(http2_slot)) = begins else { return };
    let answers = {
        let (state, drain) = (state.clone(), drain.clone());
        service_fn(move |request: hyper::Request<Incoming>| {
            let request = request.map(Body::new);
            let answered = answer(service.clone(), request, peer, state.clone(), drain.clone());
            async move { Ok::<_, Infallible>(answered.await) }
        })
    };
    let stream = TokioIo::new(ClientStream::new(stream, limits.write, state.clone()));
    let ended = if let (Some(http2), Some(_)) = (limits.http2, &http2_slot) {
        let streams = Streams::new(limits.write);
        let connection = http2_builder(limits, http2, streams.clone()).serve_connection(stream, answers);
        // Its state is larger than that of HTTP/1, and few connections have it.
        Box::pin(http2_to_end(connection, &streams, http2.idle, &state, drain, end)).await
    } else {
        let connection = http1_builder(limits).serve_connection(stream, answers);
        http1_to_end(connection, &state, end).await
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "A connection ended early");
    }
}

/// Serves an HTTP/1 connection to its end. An idle one closes when it is asked to.
async fn http1_to_end(
    connection: impl GracefulConnection<Error = hyper::Error>,
    state: &ConnectionState,
    end: CancellationToken,
) -> Result<(), hyper::Error> {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = end.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = state.close_requested() => Ok(()),
    }
}

/// Serves an HTTP/2 connection to its end. It gets a GOAWAY when it is idle for too long or asked to close, and during the
/// drain after its first request, which a GOAWAY before would refuse.
async fn http2_to_end(
    connection: impl GracefulConnection<Error = hyper::Error>,
    streams: &Streams,
    idle: Duration,
    state: &ConnectionState,
    drain: CancellationToken,
    end: CancellationToken,
) -> Result<(), hyper::Error> {
    let mut connection = pin!(connection);
    let drains = async {
        drain.cancelled().await;
        streams.begun().await;
    };
    let grace = tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = end.cancelled() => None,
        () = drains => Some(GOAWAY_GRACE),
        () = streams.idle(idle) => Some(GOAWAY_GRACE),
        () = state.close_requested() => Some(GOAWAY_GRACE_WHEN_FULL),
    };
    connection.as_mut().graceful_shutdown();
    let Some(grace) = grace else {
        return connection.await;
    };
    tokio::select! {
        ended = connection => ended,
        () = streams.idle(grace) => Ok(()),
    }
}

fn http1_builder(limits: Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .keep_alive(limits.keep_alive)
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes as usize);
    builder
}

fn http2_builder(limits: Limits, http2: Http2Limits, streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(Http2Limits::STREAMS)
        .max_header_list_size(limits.head_bytes)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(Http2Limits::CONNECTION_WINDOW)
        .max_send_buf_size(Http2Limits::STREAM_UNSENT)
        .keep_alive_interval(http2.ping)
        .keep_alive_timeout(http2.ping);
    builder
}

/// Waits until the bytes that a connection has sent show its version of HTTP, or until it ends. It leaves the
/// bytes in the socket.
async fn is_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut bytes = [0; PREFACE.len()];
    let mut pause = PREFACE_PAUSE;
    loop {
        let length = stream.peek(&mut bytes).await?;
        let seen = bytes.get(..length).unwrap_or_default();
        if seen == PREFACE {
            return Ok(true);
        }
        if seen.is_empty() || !PREFACE.starts_with(seen) {
            return Ok(false);
        }
        // The socket stays readable, so only polling shows whether more bytes have come.
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(MAX_PREFACE_PAUSE);
    }
}
