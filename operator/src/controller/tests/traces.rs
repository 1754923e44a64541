//! Tests the traces of passes and of reads of status documents.

use behalf_runtime::trace::Tracer;
use behalf_simulators::collector::{Collector, ReceivedSpan};
use clap::Parser as _;
use futures::StreamExt as _;
use futures::channel::mpsc;
use k8s_openapi::api::core::v1::Pod;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cluster::{Cluster, failure};
use super::*;
use crate::cli::Cli;
use crate::controller::dereference::pod_reports::{DocumentError, PodReports, poll};
use crate::controller::watches::Compact;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::tracer;
use crate::testing::document;

/// A collector, and the tracer of an operator that sends its spans there.
struct Traced {
    collector: Collector,
    tracer: Tracer,
    exporting: JoinHandle<()>,
    stop: CancellationToken,
}

impl Traced {
    async fn start(metrics: &Arc<Metrics>) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let collector = Collector::start().await.unwrap();
        let endpoint = collector.endpoint();
        let cli = Cli::try_parse_from([
            "behalf-operator",
            "--namespace=behalf-system",
            "--pod-name=operator-1",
            &format!("--tracing-endpoint={}", endpoint.as_str().trim_end_matches('/')),
        ]);
        let metrics = metrics.clone();
        let dropped = move |reason, count| metrics.spans_dropped(reason, count);
        let cli = cli.unwrap();
        let tracer = tracer(cli.run.trace_receiver().unwrap(), dropped, || time(60)).unwrap();
        let stop = CancellationToken::new();
        Self {
            exporting: tokio::spawn(tracer.clone().export(stop.clone())),
            collector,
            tracer,
            stop,
        }
    }

    /// Returns all spans, and everything that the collector received.
    async fn received(self) -> (Vec<ReceivedSpan>, Vec<u8>) {
        self.stop.cancel();
        self.exporting.await.unwrap();
        (self.collector.spans(0).await, self.collector.bytes())
    }
}

/// Makes one pass over the quickstart, with this request refused.
async fn pass(refused: Option<(&'static str, serde_json::Value)>) -> (Vec<ReceivedSpan>, Vec<u8>) {
    let server = server(QUICKSTART);
    let mut cluster = Cluster::of(std::slice::from_ref(&server));
    let traced = Traced::start(&cluster.metrics).await;
    cluster.tracer = Some(traced.tracer.clone());
    cluster.refused = refused;
    cluster.passes(&[server]).await;
    drop(cluster);
    traced.received().await
}

fn attribute<'a>(span: &'a ReceivedSpan, key: &str) -> Option<&'a str> {
    span.attributes.get(key).map(String::as_str)
}

/// The only span without a parent, and the others.
fn root(spans: &[ReceivedSpan]) -> (&ReceivedSpan, Vec<&ReceivedSpan>) {
    let (roots, children): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.parent_span_id.is_empty());
    assert_eq!(roots.len(), 1, "{spans:#?}");
    (roots[0], children)
}

#[tokio::test]
async fn a_reconcile_is_one_trace_with_its_requests_to_the_api_server() {
    let (spans, _) = pass(None).await;
    let (reconcile, requests) = root(&spans);
    assert_eq!(reconcile.name, "reconcile");
    assert!(!reconcile.failed);
    for (key, value) in [
        ("behalf.mcp_server.namespace", "mcp"),
        ("behalf.mcp_server.name", "azure-devops"),
        ("behalf.reconcile.result", "accepted"),
    ] {
        assert_eq!(attribute(reconcile, key), Some(value), "{key}");
    }
    assert!(spans.iter().all(|span| span.service == "behalf-operator"));
    let belongs = |span: &&ReceivedSpan| {
        span.parent_span_id == reconcile.span_id && span.trace_id == reconcile.trace_id
    };
    assert!(requests.iter().all(belongs), "{spans:#?}");
    let names: Vec<&str> = requests.iter().map(|span| span.name.as_str()).collect();
    for name in [
        "create configmaps",
        "create deployments",
        "create services",
        "patch mcpservers/status",
    ] {
        assert_eq!(
            names.iter().filter(|other| **other == name).count(),
            1,
            "{name} in {names:?}"
        );
    }
    let deployment = requests
        .iter()
        .find(|span| span.name == "create deployments")
        .unwrap();
    assert_eq!(attribute(deployment, "http.response.status_code"), Some("200"));
}

#[tokio::test]
async fn a_failed_reconcile_names_the_step_and_its_request_the_status() {
    let broken = failure(500, "InternalError", "etcd is slow");
    let (spans, _) = pass(Some(("/services/", broken))).await;
    let (reconcile, requests) = root(&spans);
    assert!(reconcile.failed);
    assert_eq!(attribute(reconcile, "behalf.reconcile.result"), Some("failed"));
    assert_eq!(attribute(reconcile, "error.type"), Some("apply"));
    let refused = requests
        .iter()
        .find(|span| span.name == "create services")
        .unwrap();
    assert!(refused.failed);
    assert_eq!(attribute(refused, "http.response.status_code"), Some("500"));
}

#[tokio::test]
async fn no_exported_byte_is_content_of_an_object() {
    let failed = failure(500, "InternalError", "a message of the API server");
    for refused in [None, Some(("/services/", failed))] {
        let (spans, bytes) = pass(refused).await;
        assert!(spans.len() > 3, "{spans:#?}");
        let text = String::from_utf8_lossy(&bytes);
        // The spec, the status, the address of a request with the name of a child, and an answer.
        for content in [
            "contoso",
            "22222222-2222-4222-8222-222222222222",
            "registry",
            "keyring",
            "Accepted",
            "a message of the API server",
        ] {
            assert!(!text.contains(content), "{content} is in {text}");
        }
    }
}

#[tokio::test]
async fn a_read_of_a_status_document_has_a_trace_if_it_triggers_a_reconcile() {
    let pod = |number: usize| -> Arc<Compact<Pod>> {
        let pod = json!({
            "metadata": {
                "namespace": "mcp", "uid": format!("pod-{number}"),
                "labels": {(names::SERVER_LABEL): format!("server-{number}")},
            },
            "status": {
                "phase": "Running", "podIP": format!("10.0.0.{number}"),
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    };
    let traced = Traced::start(&Arc::default()).await;
    // The document of the first Pod is known, and the third one does not answer.
    let reports = Arc::new(PodReports::holding("pod-1", document("sha256:0")));
    let (read, mut reads) = mpsc::unbounded();
    let answer = move |address: std::net::IpAddr| {
        read.unbounded_send(()).unwrap();
        std::future::ready(match address.to_string().as_str() {
            "10.0.0.3" => Err(DocumentError::Unreachable),
            _ => Ok(document("sha256:0")),
        })
    };
    let (changed, mut objects) = mpsc::unbounded();
    let pods = move || (1..=3).map(pod).collect();
    let polling = tokio::spawn(poll::run(
        reports,
        pods,
        Arc::default(),
        answer,
        changed,
        || 0,
        Some(traced.tracer.clone()),
    ));
    for _ in 0..3 {
        reads.next().await.unwrap();
    }
    let object = objects.next().await.unwrap();
    traced.collector.spans(1).await;
    polling.abort();
    let _ = polling.await;
    let (spans, _) = traced.received().await;
    let seen: Vec<_> = spans
        .iter()
        .map(|span| {
            (
                span.name.as_str(),
                attribute(span, "behalf.mcp_server.name"),
                span.failed,
            )
        })
        .collect();
    assert_eq!(object.name, "server-2");
    assert!(
        seen.contains(&("read status document", Some("server-2"), false)),
        "{seen:?}"
    );
    assert!(
        !seen.iter().any(|(_, name, _)| *name == Some("server-1")),
        "{seen:?}"
    );
}

#[test]
fn an_operator_without_the_authorities_of_its_collector_runs_without_traces() {
    let folder = std::env::temp_dir().join(format!("behalf-no-authorities-{}", std::process::id()));
    let cli = Cli::try_parse_from([
        "behalf-operator",
        "--namespace=behalf-system",
        "--tracing-endpoint=https://otel.obs.svc:4318",
        &format!(
            "--tracing-certificate-authority={}",
            folder.join("ca.crt").display()
        ),
    ]);
    let cli = cli.unwrap();
    let tracer = tracer(cli.run.trace_receiver().unwrap(), |_, _| {}, || time(60));
    assert!(tracer.is_none());
}
