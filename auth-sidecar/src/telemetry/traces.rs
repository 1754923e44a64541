//! The traces of the sidecar: one span for each request, and one for each that it sends to the server and to Entra.
//!
//! `docs/tracing.md` has the rules. No span contains a token, a code, an argument, a mail address or a query.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderName;
use behalf_contract::TracingConfig;
use behalf_entra::{Clock, EntraError, HttpClient, TokenRequest, TokenRequestObserver, UserIdentity};
use behalf_runtime::trace::{
    Caller, ClientSpan, Collector, Sources, TRACEPARENT, Trace, TraceContext, Tracer, current, method_name,
};
use tokio::time::Instant;

use super::audit;
use super::metrics::Metrics;
use crate::keys::Random;

/// Fields of vendors that accompany `traceparent`.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Makes the sidecar's tracer. Nothing is sent before its export runs.
pub(crate) fn tracer(
    config: &TracingConfig,
    http: HttpClient,
    (clock, random): (Arc<dyn Clock>, Arc<dyn Random>),
    metrics: Arc<Metrics>,
) -> Tracer {
    let sources = Sources {
        clock: Box::new(move || Duration::try_from(clock.now().as_duration()).unwrap_or_default()),
        random: Box::new(move |bytes| random.fill(bytes)),
        dropped: Box::new(move |reason, count| metrics.spans_dropped(reason, count)),
    };
    Tracer::new(
        sources,
        Collector::new(config, "behalf-auth-sidecar", move || http.client()),
    )
}

/// Adds to the span of a request to `/mcp` what is known after its head: the session, the message, the refusal.
pub(crate) trait McpTrace {
    /// The request has a live session of this user.
    fn authenticated(&self, user: &UserIdentity);

    /// The request has this message. The context in its `_meta` counts more than the header: the client wrote it, while a
    /// gateway may have begun a trace of its own in the header.
    fn message(&self, label: &'static str, tool: Option<&str>, context: Option<TraceContext>);

    /// The sidecar answers the request itself.
    fn refused(&self, reason: &'static str);
}

impl McpTrace for Trace {
    fn authenticated(&self, user: &UserIdentity) {
        self.caller(Caller::user(user));
    }

    fn message(&self, label: &'static str, tool: Option<&str>, context: Option<TraceContext>) {
        self.name(label);
        self.set("mcp.method.name", label);
        if let Some(tool) = tool {
            self.set("gen_ai.tool.name", &*audit::name(tool));
        }
        if let Some(context) = context {
            self.continue_from(context);
        }
    }

    fn refused(&self, reason: &'static str) {
        self.set("error.type", reason);
    }
}

/// Begins the span of a request to the server, and gives the request its context.
pub(crate) fn to_server(trace: &Trace, request: &mut Request) -> ClientSpan {
    let mut span = trace.child("server");
    span.set("http.request.method", method_name(request.method()));
    let headers = request.headers_mut();
    // `tracestate` belongs to the trace in the header, which is not this one if the message names another.
    if TraceContext::of(headers).is_none_or(|context| context.trace_id() != trace.trace_id()) {
        headers.remove(TRACESTATE);
    }
    if let Some(value) = span.traceparent() {
        headers.insert(TRACEPARENT, value);
    }
    span
}

/// Records the sidecar's requests to Entra in metrics and traces.
pub(crate) struct EntraRequests(pub(crate) Arc<Metrics>);

impl TokenRequestObserver for EntraRequests {
    fn observe(&self, request: &TokenRequest<'_>) {
        let seconds = request.began.elapsed().as_secs_f64();
        self.0
            .entra_request(request.grant, request.error.is_none(), seconds);
        record(request.grant, request.began, request.error);
    }
}

/// Records the span of an exchange. The task of the exchange has no trace, because calls share it.
pub(crate) fn exchanged(began: Instant, error: Option<&EntraError>) {
    // Nothing was sent during a pause.
    if !matches!(error, Some(EntraError::Paused { .. })) {
        record("on_behalf_of", began, error);
    }
}

/// Records the span of a request to Entra that has ended.
fn record(grant: &str, began: Instant, error: Option<&EntraError>) {
    let Some(trace) = current() else { return };
    let mut span = trace.child(format!("entra {grant}")).began(began);
    if let Some(error) = error {
        span.fail(&error.kind());
    }
}
