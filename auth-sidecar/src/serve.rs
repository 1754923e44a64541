//! Accepting connections, and letting them finish.

use std::convert::Infallible;
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

/// For the head of a request in bytes, and for what is read ahead of a body. Our largest token has a few KiB.
const HEAD_SIZE: usize = 64 * 1024;

/// Streams that one HTTP/2 connection may have open; a gateway puts many users on one connection.
const STREAMS: u32 = 256;

/// After the kernel refused a connection (out of file descriptors), before it is asked again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One listener's limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub(crate) connections: usize,

    /// How long open requests may go on after the end was called.
    pub(crate) drain: Duration,
}

/// Serves until `end` is called, then takes no more connections, lets requests finish and returns.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits, end: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_SIZE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS);
    let builder = Arc::new(builder);
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
        tokio::spawn(async move {
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

/// The router must not be able to fail: a failure would close the connection without an answer.
const _: fn() = || {
    fn infallible<S: tower::Service<axum::extract::Request, Error = Infallible>>() {}
    infallible::<Router>();
};
