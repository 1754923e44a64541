//! The internal port: probes for the kubelet, the status for the operator, counts for Prometheus.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use behalf_contract::{SessionsReport, StatusDocument, StoreKind};

use crate::keys::KeyringHandle;
use crate::observe::StatusBoard;
use crate::observe::sign_ins::SignIns;
use crate::sessions::Sessions;
use crate::telemetry::metrics::{self, Metrics};
use crate::upstream::Upstream;

/// Behind every route of the internal port.
#[derive(Clone)]
pub struct InternalState {
    /// [`behalf_runtime::ConfigFile::digest`].
    pub configuration_digest: Arc<str>,

    /// Set once the configuration is read, both ports are bound and the host key is written. It must not
    /// wait for the server: the kubelet starts the server only after this sidecar has started.
    pub started: Arc<AtomicBool>,

    /// The server.
    pub upstream: Upstream,

    /// The keys of this process.
    pub keyring: Arc<KeyringHandle>,

    /// The sessions, for their store.
    pub sessions: Arc<Sessions>,

    /// The kind of store.
    pub store_kind: StoreKind,

    /// The results of the probes.
    pub board: Arc<StatusBoard>,

    /// The results of users' sign-ins.
    pub sign_ins: Arc<SignIns>,

    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// `/startupz`
pub(crate) async fn startup(State(state): State<InternalState>) -> (StatusCode, &'static str) {
    if state.started.load(Ordering::Acquire) {
        (StatusCode::OK, "started\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

/// `/readyz`: can a request be served by this Pod? Never asks Entra: its outage is no reason to take every
/// Pod out of the Service, where clients would get no answer instead of a clear one.
pub(crate) async fn ready(State(state): State<InternalState>) -> (StatusCode, &'static str) {
    if !state.started.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting\n");
    }
    let (listens, usage) = tokio::join!(state.upstream.listens(), state.sessions.store().usage());
    match (listens, usage.is_ok()) {
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

/// `/livez`: answering at all is the proof.
pub(crate) async fn live() -> &'static str {
    "alive\n"
}

/// `/status`
pub(crate) async fn status(State(state): State<InternalState>) -> Json<StatusDocument> {
    Json(StatusDocument {
        configuration_digest: state.configuration_digest.as_ref().to_owned(),
        keyring: state.keyring.report(),
        federation: state.board.federation(),
        handshake: state.board.handshake(),
        sign_in: Some(state.sign_ins.report()),
        sessions: SessionsReport {
            store: state.store_kind,
        },
    })
}

/// `/metrics`
pub(crate) async fn metrics(State(state): State<InternalState>) -> impl IntoResponse {
    // A store that does not answer has no size; its last one would be a claim.
    let usage = state.sessions.store().usage().await.unwrap_or_default();
    state.metrics.session_store(usage.entries, usage.bytes);
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], state.metrics.encode())
}
