//! The traces of the operator: one for each reconcile, with its requests to the API server, and one for each read of a status
//! document that triggers a reconcile.
//!
//! `docs/tracing.md` has the rules. A span names an `McpServer`, and contains nothing of its spec, its status or its children.

use std::path::Path;
use std::time::Duration;

use behalf_entra::{HttpLimits, Proxies, TrustRoots};
use behalf_runtime::trace::{
    ClientSpan, Collector, DropReason, RequestSpan, Sources, Trace, Tracer, current,
};
use http::StatusCode;
use jiff::Timestamp;
use tokio::time::Instant;
use url::Url;

use super::reconcile_result::ReconcileResult;
use crate::error_chain::chain;

/// The attributes that name the `McpServer` of a trace.
const NAMESPACE: &str = "behalf.mcp_server.namespace";
const NAME: &str = "behalf.mcp_server.name";

/// The receiver of the operator's traces, and the Pod that sends them.
#[derive(Debug, Clone, Copy)]
pub struct Receiver<'a> {
    /// The origin of the OTLP/HTTP receiver.
    pub endpoint: &'a Url,

    /// The file with certificate authorities beside those of the system.
    pub certificate_authority: Option<&'a Path>,

    /// The namespace of the operator's Pod.
    pub namespace: Option<&'a str>,

    /// The name of the operator's Pod.
    pub pod_name: Option<&'a str>,
}

/// Makes the operator's tracer. Returns `None` if the bundle of certificate authorities cannot be read: the operator works without
/// traces. Nothing is sent before the tracer's export runs. `dropped` counts the spans that were not sent.
pub fn tracer(
    receiver: Receiver<'_>,
    dropped: impl Fn(DropReason, usize) + Send + Sync + 'static,
    clock: fn() -> Timestamp,
) -> Option<Tracer> {
    let Receiver {
        endpoint,
        certificate_authority,
        namespace,
        pod_name,
    } = receiver;
    let roots = match certificate_authority {
        Some(path) => TrustRoots::with_bundle(path),
        None => TrustRoots::system(),
    };
    let http = match roots.http_client(HttpLimits::default(), Proxies::None) {
        Ok(http) => http,
        Err(error) => {
            let next_step = if certificate_authority.is_some() {
                "check that the ConfigMap of tracing.certificateAuthorityRef has the key with PEM certificates, then restart the operator"
            } else {
                "check the certificate authorities of the image"
            };
            tracing::error!(error = %chain(&error), "Traces are off: {next_step}");
            return None;
        }
    };
    let place = [("k8s.namespace.name", namespace), ("k8s.pod.name", pod_name)];
    let attributes: Vec<_> = place
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    let collector = Collector::named(
        endpoint.as_str().trim_end_matches('/').to_owned(),
        "tracing.endpoint of the chart",
        "behalf-operator",
        &attributes,
        move || http.client(),
    );
    Some(Tracer::new(sources(dropped, clock), collector))
}

fn sources(dropped: impl Fn(DropReason, usize) + Send + Sync + 'static, clock: fn() -> Timestamp) -> Sources {
    Sources {
        clock: Box::new(move || Duration::try_from(clock().as_duration()).unwrap_or_default()),
        // Without randomness the ids are invalid, and the collector drops the spans. No reconcile fails for that.
        random: Box::new(|bytes| {
            let _ = getrandom::fill(bytes);
        }),
        dropped: Box::new(dropped),
    }
}

/// Begins the trace of a reconcile of an object.
pub fn reconcile(tracer: &Tracer, namespace: &str, name: &str) -> RequestSpan {
    begin(tracer, "reconcile", namespace, name)
}

/// Begins the trace of a read of the status document of one of an object's Pods. It is recorded if it triggers a reconcile.
pub fn read_status(tracer: &Tracer, namespace: &str, name: &str) -> RequestSpan {
    begin(tracer, "read status document", namespace, name)
}

fn begin(tracer: &Tracer, what: &'static str, namespace: &str, name: &str) -> RequestSpan {
    let span = tracer.begin_work(what);
    let trace = span.trace();
    trace.set(NAMESPACE, namespace);
    trace.set(NAME, name);
    span
}

/// Records how the reconcile of the current trace ended.
pub fn reconciled(result: ReconcileResult) {
    let Some(trace) = current() else { return };
    trace.set("behalf.reconcile.result", result.label());
    if let ReconcileResult::Failed(step) = result {
        failed(&trace, step.as_str());
    }
}

/// Marks the span of a trace as failed. `kind` is from a closed list.
pub fn failed(trace: &Trace, kind: &'static str) {
    trace.set("error.type", kind);
    trace.fail();
}

/// A request to the API server in the trace of the running task, if there is one.
pub struct ApiRequest(Option<ClientSpan>);

impl ApiRequest {
    /// Begins the span of a request that was sent at `began`. The names are those of the metric.
    pub fn begin(verb: &'static str, resource: &'static str, began: Instant) -> Self {
        Self(current().map(|trace| trace.child(format!("{verb} {resource}")).began(began)))
    }

    /// Records the answer. Without one the request failed.
    pub fn answered(&mut self, status: Option<StatusCode>) {
        let Some(span) = &mut self.0 else { return };
        match status {
            Some(status) => span.answered(status),
            None => span.fail("no_answer"),
        }
    }
}
