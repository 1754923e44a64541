//! Tests how passes are counted in the metrics.

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
    let text = metrics.encode(Gauges::default()).unwrap();
    for line in [
        r#"reconciles_total{result="accepted"} 1"#,
        r#"reconciles_total{result="refused"} 2"#,
        r#"reconciles_total{result="stale"} 3"#,
        r#"reconciles_total{result="failed"} 4"#,
        r#"reconcile_failures_total{step="status"} 1"#,
        r#"reconcile_failures_total{step="apply"} 3"#,
        "reconcile_duration_seconds_count 10",
    ] {
        let line = format!("behalf_operator_{line}");
        assert!(
            text.lines().any(|other| other == line),
            "{line} is not in\n{text}"
        );
    }
}
