//! The metrics for Prometheus. Labels come from closed sets without data of users, clients or requests.

use behalf_contract::Reason;
use behalf_runtime::trace::{self, DropReason};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use super::security_event::SecurityEvent;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Buckets in seconds of a hop, from a cached local call to a slow pipeline query.
const HOP_SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0,
];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GrantLabels {
    grant: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

fn outcome(succeeded: bool) -> &'static str {
    if succeeded { "success" } else { "failure" }
}

/// The label of an exemplar.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TraceLabels {
    trace_id: String,
}

/// A histogram whose buckets name the trace of a recent request.
type Seconds = HistogramWithExemplars<TraceLabels>;

fn seconds() -> Seconds {
    Seconds::new(HOP_SECONDS.into_iter())
}

/// Adds a value, with the trace of the current request if it is recorded.
fn observe(histogram: &Seconds, seconds: f64) {
    let trace = trace::current().and_then(|trace| trace.recorded_id());
    let exemplar = trace.map(|id| TraceLabels {
        trace_id: id.to_string(),
    });
    histogram.observe(seconds, exemplar, None);
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProbeLabels {
    outcome: &'static str,
    reason: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabels {
    event: &'static str,
}

/// The metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    refusals: Family<ReasonLabels, Counter>,
    sign_ins: Family<ReasonLabels, Counter>,
    entra_bearers: Family<ReasonLabels, Counter>,
    federation: Family<ProbeLabels, Counter>,
    handshake: Family<ProbeLabels, Counter>,
    security: Family<EventLabels, Counter>,
    answer_seconds: Seconds,
    entra_seconds: Family<GrantLabels, Seconds, fn() -> Seconds>,
    store_seconds: Family<OperationLabels, Seconds, fn() -> Seconds>,
    document_seconds: Family<OutcomeLabels, Seconds, fn() -> Seconds>,
    spans_dropped: Family<ReasonLabels, Counter>,
    store_entries: Gauge,
    store_bytes: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("behalf");
        let r = &mut registry;
        let metrics = Self {
            calls: registered(
                r,
                "mcp_requests",
                "Requests to /mcp that reached the server, by JSON-RPC method and HTTP status",
                Family::default(),
            ),
            refusals: registered(
                r,
                "mcp_refusals",
                "Requests to /mcp that the sidecar answered itself, by reason",
                Family::default(),
            ),
            sign_ins: registered(
                r,
                "sign_ins",
                "Sign-ins that reached Entra's token endpoint, by result",
                Family::default(),
            ),
            entra_bearers: registered(
                r,
                "entra_bearers",
                "Requests to /mcp with a token of Entra as bearer, by result",
                Family::default(),
            ),
            federation: registered(
                r,
                "federation_probes",
                "Client-credentials probes of the federation, by outcome and reason",
                Family::default(),
            ),
            handshake: registered(
                r,
                "handshake_probes",
                "MCP handshakes with the server, by outcome and reason",
                Family::default(),
            ),
            security: registered(
                r,
                "security_events",
                "Requests that indicate an attack or a broken client, by kind",
                Family::default(),
            ),
            answer_seconds: registered(
                r,
                "mcp_answer_seconds",
                "Seconds from forwarding a request until the server's answer begins",
                seconds(),
            ),
            entra_seconds: registered(
                r,
                "entra_request_seconds",
                "Seconds of a request to Entra's token endpoint, by grant and outcome",
                Family::new_with_constructor(seconds as fn() -> Seconds),
            ),
            store_seconds: registered(
                r,
                "session_store_seconds",
                "Seconds of a read or write of a session store over the network, by operation and outcome",
                Family::new_with_constructor(seconds as fn() -> Seconds),
            ),
            document_seconds: registered(
                r,
                "metadata_document_seconds",
                "Seconds of a fetch of a client's metadata document, by outcome",
                Family::new_with_constructor(seconds as fn() -> Seconds),
            ),
            spans_dropped: registered(
                r,
                "trace_spans_dropped",
                "Spans that the trace collector did not get, by reason",
                Family::default(),
            ),
            store_entries: registered(
                r,
                "session_store_entries",
                "Entries in the session store",
                Gauge::default(),
            ),
            store_bytes: registered(
                r,
                "session_store_bytes",
                "Bytes of values in the session store",
                Gauge::default(),
            ),
            registry,
        };
        create_counters(&metrics);
        metrics
    }
}

/// Registers a metric and returns it.
fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// Creates the counters whose first increase an alert must see: Prometheus sees no increase in a series that begins at 1.
fn create_counters(metrics: &Metrics) {
    for event in SecurityEvent::ALL {
        let _ = metrics.security.get_or_create(&EventLabels {
            event: event.as_str(),
        });
    }
    // The alerts on failed probes ask whether a probe succeeded afterwards.
    for (probes, reason) in [
        (&metrics.federation, Reason::TokenAccepted),
        (&metrics.handshake, Reason::HandshakeSucceeded),
    ] {
        let _ = probes.get_or_create(&ProbeLabels {
            outcome: "Verified",
            reason: reason.as_str().to_owned(),
        });
    }
}

impl Metrics {
    /// Counts a request whose answer from the server began with `status` after `seconds`. `method` is one of a
    /// fixed list.
    pub fn call(&self, method: &'static str, status: u16, seconds: f64) {
        self.calls.get_or_create(&CallLabels { method, status }).inc();
        observe(&self.answer_seconds, seconds);
    }

    /// Counts a request to Entra's token endpoint. `grant` is one of a fixed list.
    pub fn entra_request(&self, grant: &'static str, succeeded: bool, seconds: f64) {
        let labels = GrantLabels {
            grant,
            outcome: outcome(succeeded),
        };
        observe(&self.entra_seconds.get_or_create(&labels), seconds);
    }

    /// Counts an operation of a session store over the network. `operation` is one of a fixed list.
    pub fn store_operation(&self, operation: &'static str, succeeded: bool, seconds: f64) {
        let labels = OperationLabels {
            operation,
            outcome: outcome(succeeded),
        };
        observe(&self.store_seconds.get_or_create(&labels), seconds);
    }

    /// Counts a fetch of a client's metadata document.
    pub fn metadata_document(&self, succeeded: bool, seconds: f64) {
        let labels = OutcomeLabels {
            outcome: outcome(succeeded),
        };
        observe(&self.document_seconds.get_or_create(&labels), seconds);
    }

    /// Counts spans that the trace collector did not get.
    pub fn spans_dropped(&self, reason: DropReason, count: usize) {
        let reason = reason.as_str();
        let counter = self.spans_dropped.get_or_create(&ReasonLabels { reason });
        counter.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Counts a request to `/mcp` that the sidecar answered itself.
    pub fn refusal(&self, reason: &'static str) {
        self.refusals.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a sign-in that reached Entra's token endpoint. `reason` is one of a fixed list.
    pub fn sign_in(&self, reason: &'static str) {
        self.sign_ins.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a request with a token of Entra as bearer. `reason` is one of a fixed list.
    pub fn entra_bearer(&self, reason: &'static str) {
        self.entra_bearers.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a federation probe.
    pub fn federation_probe(&self, outcome: &'static str, reason: &str) {
        self.federation
            .get_or_create(&ProbeLabels {
                outcome,
                reason: reason.to_owned(),
            })
            .inc();
    }

    /// Counts a handshake probe.
    pub fn handshake_probe(&self, outcome: &'static str, reason: &str) {
        self.handshake
            .get_or_create(&ProbeLabels {
                outcome,
                reason: reason.to_owned(),
            })
            .inc();
    }

    /// Counts a security event.
    pub fn security_event(&self, event: SecurityEvent) {
        self.security
            .get_or_create(&EventLabels {
                event: event.as_str(),
            })
            .inc();
    }

    /// Sets the current size of the session store.
    pub fn session_store(&self, entries: usize, bytes: usize) {
        self.store_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.store_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Returns all metrics as [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut body = String::new();
        // Writing to a String fails only when the encoder of a metric fails. The page is then empty.
        match text::encode(&mut body, &self.registry) {
            Ok(()) => body,
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use behalf_contract::{ObjectIdentity, TracingConfig};
    use behalf_runtime::trace::{Caller, Collector, Sources, TraceContext, Tracer};

    use super::*;

    #[test]
    fn counters_have_their_labels() {
        let metrics = Metrics::default();
        metrics.call("tools/call", 200, 0.004);
        metrics.refusal("no_token");
        metrics.sign_in("SignedIn");
        metrics.entra_bearer("accepted");
        metrics.federation_probe("Failed", "FicSubjectMismatch");
        metrics.security_event(SecurityEvent::ForeignOrigin);
        let page = metrics.encode();
        for line in [
            r#"behalf_mcp_requests_total{method="tools/call",status="200"} 1"#,
            r#"behalf_mcp_refusals_total{reason="no_token"} 1"#,
            r#"behalf_sign_ins_total{reason="SignedIn"} 1"#,
            r#"behalf_federation_probes_total{outcome="Failed",reason="FicSubjectMismatch"} 1"#,
            r#"behalf_security_events_total{event="foreign_origin"} 1"#,
            "behalf_mcp_answer_seconds_count 1",
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn a_bucket_names_the_trace_of_its_last_call() {
        let metrics = Metrics::default();
        let sources = Sources {
            clock: Box::new(std::time::Duration::default),
            random: Box::new(|_| {}),
            dropped: Box::new(|_, _| {}),
        };
        let config = TracingConfig {
            endpoint: "http://127.0.0.1:1".parse().unwrap(),
            object: ObjectIdentity {
                namespace: "mcp".to_owned(),
                name: "azure-devops".to_owned(),
            },
        };
        let tracer = Tracer::new(sources, Collector::new(&config, "test", reqwest::Client::default));
        let context = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let span = tracer.begin("tools/call", context);
        span.trace().caller(Caller::user("ana"));
        span.trace()
            .scope(async { metrics.call("tools/call", 200, 0.004) })
            .await;
        let page = metrics.encode();
        let bucket = "behalf_mcp_answer_seconds_bucket{le=\"0.005\"} 1 \
                      # {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"} 0.004\n";
        assert!(page.contains(bucket), "{page}");
    }

    #[test]
    fn every_security_event_exists_before_it_happens() {
        let page = Metrics::default().encode();
        for event in SecurityEvent::ALL {
            assert!(
                page.contains(&format!(r#"event="{}"}} 0"#, event.as_str())),
                "{event:?}"
            );
        }
    }

    #[test]
    fn the_first_successful_probe_increases_a_counter_that_exists() {
        let page = Metrics::default().encode();
        for line in [
            r#"behalf_federation_probes_total{outcome="Verified",reason="TokenAccepted"} 0"#,
            r#"behalf_handshake_probes_total{outcome="Verified",reason="HandshakeSucceeded"} 0"#,
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
    }

    #[test]
    fn every_metric_is_documented() {
        let page = include_str!("../../../docs/metrics.md");
        let metrics = Metrics::default();
        metrics.call("tools/call", 200, 0.1);
        metrics.refusal("no_token");
        metrics.sign_in("SignedIn");
        metrics.entra_bearer("accepted");
        metrics.federation_probe("Verified", "TokenAccepted");
        metrics.handshake_probe("Verified", "ToolsListed");
        metrics.entra_request("on_behalf_of", true, 0.1);
        metrics.store_operation("get", true, 0.1);
        metrics.metadata_document(true, 0.1);
        metrics.spans_dropped(DropReason::QueueFull, 1);
        let text = metrics.encode();
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names: Vec<&str> = names.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names.len(), 14);
        for name in names {
            let counter = format!("| `{name}_total` |");
            assert!(
                page.contains(&counter) || page.contains(&format!("| `{name}` |")),
                "{name}"
            );
        }
    }
}
