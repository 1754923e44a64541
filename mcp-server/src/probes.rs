//! The probes of the kubelet and the metrics, on a port of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::metrics::{self, Metrics};

/// Whether the server accepts new calls: its port is bound and the process is not stopping. The readiness of the Pod
/// depends on the sidecar's probe.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Sets whether the server accepts new calls.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Returns the router with `/startupz`, `/readyz`, `/livez` and `/metrics`.
pub fn router(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    let page = async move || ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.encode());
    Router::new()
        .route("/metrics", get(page))
        .route("/startupz", get(alive))
        .route("/readyz", get(ready))
        // Liveness only covers the server's own loop: a restart does not fix a fault of another system.
        .route("/livez", get(alive))
        .with_state(readiness)
}

async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    if readiness.get() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn status(readiness: &Readiness, path: &str) -> StatusCode {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router(readiness.clone(), Arc::default())
            .oneshot(request)
            .await
            .unwrap()
            .status()
    }

    #[tokio::test]
    async fn is_ready_while_it_accepts_calls() {
        let readiness = Readiness::default();
        assert_eq!(
            status(&readiness, "/readyz").await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        readiness.set(true);
        assert_eq!(status(&readiness, "/readyz").await, StatusCode::OK);
        readiness.set(false);
        assert_eq!(
            status(&readiness, "/readyz").await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(status(&readiness, "/livez").await, StatusCode::OK);
        assert_eq!(status(&readiness, "/startupz").await, StatusCode::OK);
    }

    #[tokio::test]
    async fn serves_nothing_else() {
        let readiness = Readiness::default();
        for path in ["/", "/mcp", "/metrics/x", "/livez/x"] {
            assert_eq!(status(&readiness, path).await, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
