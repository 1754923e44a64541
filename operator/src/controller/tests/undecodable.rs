//! Tests what the operator reports about an object that cannot be decoded.

use behalf_runtime::spread;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use rstest::rstest;

use super::cluster::{Cluster, condition, event_reasons, failure, lowest_jitter, statuses};
use super::*;
use crate::telemetry::metrics::Gauges;

const NAME: &str = "azure-devops";

fn undecodable(error: &str, generation: i64) -> Guarded {
    let mut metadata = server(QUICKSTART).metadata;
    metadata.generation = Some(generation);
    DeserializeGuard(Err(InvalidObject {
        error: error.to_owned(),
        metadata,
    }))
}

/// A requeue with the jitter of these tests.
fn requeue(base: Duration) -> Action {
    Action::requeue(spread(base, lowest_jitter()))
}

#[tokio::test]
async fn an_object_that_cannot_be_decoded_says_so_in_its_status() {
    let guard = undecodable("unknown variant `Redis`", 7);
    let cluster = Cluster::default();
    let metrics = cluster.metrics.clone();
    let (results, asked) = cluster.passes_over(vec![guard]).await;
    assert_eq!(results[0].as_ref().unwrap(), &requeue(backoff::SETTLED));
    let [status] = statuses(&asked, NAME)[..] else {
        panic!("{asked:?}")
    };
    assert_eq!(status["observedGeneration"], json!(7));
    for (kind, expected) in [("Accepted", "False"), ("Ready", "False"), ("Stalled", "True")] {
        let [is, reason, message] = condition(status, kind).unwrap();
        assert_eq!((is, reason), (expected, "Undecodable"), "{kind}");
        assert!(message.contains("unknown variant `Redis`"), "{message}");
    }
    let counted = metrics.encode(&Gauges::default()).unwrap();
    assert!(
        counted.contains(r#"behalf_operator_reconciles_total{result="refused"} 1"#),
        "{counted}"
    );
}

#[tokio::test]
async fn an_object_that_cannot_be_decoded_keeps_the_status_that_its_error_does_not_contradict() {
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": "Before", "message": "as before", "observedGeneration": 6,
            "lastTransitionTime": "2025-01-01T00:00:00Z",
        })
    };
    let kept = json!({
        "verifiedGeneration": 6,
        "observedTemplate": "sha256:0",
        "address": {"url": "https://mcp.contoso.example/mcp"},
        "keys": {"current": "s00000001"},
        "ofANewerRelease": {"a": 1},
    });
    let mut before = kept.clone();
    before["observedGeneration"] = json!(6);
    before["conditions"] = json!([
        condition("Ready", "True"),
        condition("Accepted", "False"),
        condition("Available", "True"),
        condition("Reconciling", "True"),
    ]);
    let cluster = Cluster {
        status: before,
        ..Cluster::default()
    };
    let (_, asked) = cluster
        .passes_over(vec![undecodable("unknown variant `Redis`", 7)])
        .await;
    let [status] = statuses(&asked, NAME)[..] else {
        panic!("{asked:?}")
    };
    for (field, value) in kept.as_object().unwrap() {
        assert_eq!(&status[field], value, "{field}");
    }
    let conditions = status["conditions"].as_array().unwrap();
    assert!(
        conditions.contains(&condition("Available", "True")),
        "{conditions:?}"
    );
    let kinds: Vec<_> = conditions.iter().map(|condition| &condition["type"]).collect();
    assert_eq!(kinds, ["Ready", "Accepted", "Available", "Stalled"]);
    let since = |at: usize| conditions[at]["lastTransitionTime"].as_str().unwrap();
    assert_eq!(since(1), "2025-01-01T00:00:00Z", "it was False before");
    assert_ne!(since(0), "2025-01-01T00:00:00Z", "it was True before");
}

#[tokio::test]
async fn an_error_of_decoding_is_reported_again_only_for_another_generation_or_another_error() {
    let variant = "unknown variant `Redis`";
    let order = [
        (variant, 1),
        (variant, 1),
        (variant, 2),
        ("missing field `entra`", 2),
    ];
    let (results, asked) = Cluster::default()
        .passes_over(order.map(|(error, at)| undecodable(error, at)).into())
        .await;
    for result in results {
        assert_eq!(result.unwrap(), requeue(backoff::SETTLED));
    }
    let written: Vec<&serde_json::Value> = statuses(&asked, NAME)
        .into_iter()
        .map(|status| &status["observedGeneration"])
        .collect();
    assert_eq!(written, [1, 2, 2]);
    assert_eq!(event_reasons(&asked).len(), 3);
}

#[rstest]
#[case::the_object_changed("/status", "Conflict", 409, backoff::STALE)]
#[case::the_status_was_not_written("/status", "InternalError", 500, backoff::UNSETTLED)]
#[case::the_status_was_not_read("/mcpservers", "InternalError", 500, backoff::UNSETTLED)]
#[tokio::test]
async fn an_error_of_decoding_that_was_not_written_is_tried_again_soon(
    #[case] request: &'static str,
    #[case] reason: &str,
    #[case] code: u16,
    #[case] wait: Duration,
) {
    let cluster = Cluster {
        refused: Some((request, failure(code, reason, "not written"))),
        ..Cluster::default()
    };
    let guard = || undecodable("unknown variant `Redis`", 1);
    let (results, asked) = cluster.passes_over(vec![guard(), guard()]).await;
    for result in results {
        assert_eq!(result.unwrap(), requeue(wait));
    }
    assert!(event_reasons(&asked).is_empty());
}
