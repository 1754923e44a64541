//! The endpoints of the internal port: probes for the kubelet, the status document for the operator and metrics
//! for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use behalf_contract::{SessionsReport, StatusDocument};

use crate::services::Services;
use crate::telemetry::metrics;

/// `/startupz`: 200 after the start has ended.
pub(crate) async fn startup(State(services): State<Arc<Services>>) -> (StatusCode, &'static str) {
    if services.has_started() {
        (StatusCode::OK, "started\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

/// `/readyz`: 200 while the MCP server listens and the session store answers. It does not depend on Entra: an
/// outage of Entra would make every Pod unready, and clients would get no answer instead of an error that names
/// the outage.
pub(crate) async fn ready(State(services): State<Arc<Services>>) -> (StatusCode, &'static str) {
    if !services.has_started() {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting\n");
    }
    let (listens, store) = tokio::join!(services.upstream.listens(), services.sessions.store().ping());
    services.set_ready(listens && store.is_ok());
    match (listens, store.is_ok()) {
        (true, true) => (StatusCode::OK, "ready\n"),
        (false, _) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the MCP server does not listen on its port\n",
        ),
        (true, false) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the session store does not answer\n",
        ),
    }
}

/// `/livez`: 200 while the process can answer.
pub(crate) async fn live() -> &'static str {
    "alive\n"
}

/// `/status`: the status document.
pub(crate) async fn status(State(services): State<Arc<Services>>) -> Json<StatusDocument> {
    Json(StatusDocument {
        configuration_digest: services.configuration_digest.clone(),
        keyring: services.keyring.report(),
        revocations_digest: Some(services.sessions.revocations_digest()),
        federation: services.probe_results.federation(),
        handshake: services.probe_results.handshake(),
        tenant: services.probe_results.tenant(),
        sign_in: Some(services.sign_ins.report()),
        sessions: sessions(&services).await,
    })
}

/// Maximum time that `/status` waits for the session store. The operator gives up after two seconds.
const STORE_LIMIT: Duration = Duration::from_secs(1);

/// Maximum length of an eviction policy that is reported. Redis knows none that is as long.
const POLICY_LENGTH: usize = 64;

async fn sessions(services: &Services) -> SessionsReport {
    let report = tokio::time::timeout(STORE_LIMIT, services.sessions.store().report()).await;
    let report = report.ok().and_then(Result::ok);
    SessionsReport {
        store: services.store_kind(),
        reachable: Some(report.is_some()),
        eviction_policy: report
            .and_then(|report| report.eviction_policy)
            .filter(|policy| policy.len() <= POLICY_LENGTH),
    }
}

/// `/metrics`: the metrics for Prometheus.
pub(crate) async fn metrics(State(services): State<Arc<Services>>) -> impl IntoResponse {
    // A shared store counts as empty.
    let usage = services.sessions.store().usage().unwrap_or_default();
    services.metrics.session_store(usage.entries, usage.bytes);
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], services.metrics.encode())
}
