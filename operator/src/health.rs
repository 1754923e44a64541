//! The operator's own port: probes and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use behalf_runtime::Limits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::metrics::{self, Gauges, Metrics};

/// The state that all routes share.
#[derive(Clone)]
pub struct HealthState {
    /// True while the process stands by, and once it leads and every cache was filled.
    pub ready: Arc<AtomicBool>,

    /// The metrics of this process.
    pub metrics: Arc<Metrics>,

    /// Returns the values that are read for each request.
    pub gauges: Arc<dyn Fn() -> Gauges + Send + Sync>,
}

/// Maximum time for an answer that is being sent when the operator stops.
const FINISH: Duration = Duration::from_secs(5);

/// Answers probes and Prometheus until `stop` is cancelled. The port is open to every Pod that the network lets in, so no
/// client may occupy it.
pub async fn serve(listener: TcpListener, state: HealthState, stop: CancellationToken) {
    behalf_runtime::serve(listener, router(state), Limits::probes(FINISH), stop).await;
}

/// Returns the routes.
fn router(state: HealthState) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_metrics))
        .with_state(state)
}

async fn ready(State(state): State<HealthState>) -> (StatusCode, &'static str) {
    if state.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the caches are not filled: the CRD is missing, the API server does not answer, or the operator lacks a right; see its \
             log\n",
        )
    }
}

async fn show_metrics(State(state): State<HealthState>) -> impl IntoResponse {
    match state.metrics.encode(&(state.gauges)()) {
        Ok(body) => (StatusCode::OK, [(CONTENT_TYPE, metrics::CONTENT_TYPE)], body),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(CONTENT_TYPE, "text/plain; charset=utf-8")],
            "the metrics cannot be written as text\n".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::body::Body;
    use axum::http::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_process_that_is_not_ready_is_alive_and_shows_its_metrics() {
        for (is_ready, code) in [(false, StatusCode::SERVICE_UNAVAILABLE), (true, StatusCode::OK)] {
            let state = HealthState {
                ready: Arc::new(AtomicBool::new(is_ready)),
                metrics: Arc::default(),
                gauges: Arc::new(Gauges::default),
            };
            for (path, expected) in [
                ("/readyz", code),
                ("/livez", StatusCode::OK),
                ("/metrics", StatusCode::OK),
            ] {
                let request = Request::get(path).body(Body::empty()).unwrap();
                let answer = router(state.clone()).oneshot(request).await.unwrap();
                assert_eq!(answer.status(), expected, "{path} with ready {is_ready}");
            }
        }
    }

    #[tokio::test]
    async fn every_answer_forbids_sniffing_and_idle_connections_keep_out_no_probe() {
        let state = HealthState {
            ready: Arc::default(),
            metrics: Arc::default(),
            gauges: Arc::new(Gauges::default),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, state, CancellationToken::new()));
        let mut idle = Vec::new();
        for _ in 0..200 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        for path in ["/livez", "/readyz", "/metrics", "/absent"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: operator\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            // The connection ends with its answer.
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.contains("x-content-type-options: nosniff\r\n"), "{answer}");
        }
        serving.abort();
    }
}
