//! The operator's own port: probes and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::telemetry::metrics::{Gauges, Metrics};

/// Behind every route.
#[derive(Clone)]
pub struct HealthState {
    /// Set once the CRD is there and every cache was filled.
    pub ready: Arc<AtomicBool>,

    /// Counts.
    pub metrics: Arc<Metrics>,

    /// Measures.
    pub gauges: Arc<dyn Fn() -> Gauges + Send + Sync>,
}

/// The routes.
pub fn router(state: HealthState) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
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

async fn metrics(State(state): State<HealthState>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.metrics.render((state.gauges)()),
    )
}
