//! Tests how passes are counted in the metrics.

use kube::core::DeserializeGuard;

use super::cluster::{Cluster, failure};
use super::*;
use crate::telemetry::metrics::{Gauges, Metrics};
use crate::testing::quickstart_with;

/// Runs one pass over an object, with this request refused.
async fn pass(metrics: &Arc<Metrics>, server: McpServer, refused: Option<(&'static str, serde_json::Value)>) {
    let cluster = Cluster {
        metrics: metrics.clone(),
        refused,
        ..Cluster::of(std::slice::from_ref(&server))
    };
    cluster.passes(&[server]).await;
}

#[tokio::test]
async fn a_pass_is_counted_by_its_result_and_a_failed_one_by_its_step() {
    let metrics = Arc::new(Metrics::default());
    let conflict = failure(409, "Conflict", "the object has been modified");
    let broken = || failure(500, "InternalError", "etcd is slow");
    pass(&metrics, server(QUICKSTART), None).await;
    for _ in 0..2 {
        pass(&metrics, quickstart_with(json!({"publicUrl": "x"})), None).await;
    }
    for _ in 0..3 {
        pass(&metrics, server(QUICKSTART), Some(("/status", conflict.clone()))).await;
    }
    pass(&metrics, server(QUICKSTART), Some(("/status", broken()))).await;
    for _ in 0..3 {
        pass(&metrics, server(QUICKSTART), Some(("/services/", broken()))).await;
    }
    let text = metrics.encode(&Gauges::default()).unwrap();
    for line in [
        r#"reconciles_total{result="accepted"} 1"#,
        r#"reconciles_total{result="refused"} 2"#,
        r#"reconciles_total{result="stale"} 3"#,
        r#"reconciles_total{result="failed"} 4"#,
        r#"reconcile_failures_total{step="status"} 1"#,
        r#"reconcile_failures_total{step="apply"} 3"#,
        "reconcile_duration_seconds_count 10",
        "reconciles_running 0",
    ] {
        let line = format!("behalf_operator_{line}");
        assert!(
            text.lines().any(|other| other == line),
            "{line} is not in\n{text}"
        );
    }
}

#[tokio::test]
async fn only_a_reconcile_that_an_event_triggered_has_waited() {
    let server = server(QUICKSTART);
    let cluster = Cluster::of(std::slice::from_ref(&server));
    cluster
        .queue
        .add([ObjectRef::from_obj(&DeserializeGuard(Ok(server.clone())))]);
    cluster.passes(&[server.clone(), server]).await;
    let text = cluster.metrics.encode(&Gauges::default()).unwrap();
    let counted = |line: &str| {
        text.lines()
            .any(|other| other == format!("behalf_operator_{line}"))
    };
    assert!(counted("reconcile_wait_seconds_count 1"), "{text}");
    assert!(counted("reconcile_duration_seconds_count 2"), "{text}");
    assert_eq!(cluster.queue.count(), 0);
}
