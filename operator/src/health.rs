//! The operator's own port: probes and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

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

/// Returns the routes.
pub fn router(state: HealthState) -> Router {
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
            "waiting for the CRD or the API server\n",
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
    use axum::body::Body;
    use axum::http::Request;
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
}
