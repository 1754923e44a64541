//! The operator's metrics for Prometheus. Labels come from closed sets and name no object. `docs/metrics.md` explains
//! each metric.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use behalf_contract::Reason;
use behalf_runtime::trace::DropReason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::api_requests::{CountRequests, Counters};
use super::reconcile_result::{ReconcileResult, ReconcileStep};
use crate::api::v1alpha1::conditions::{ConditionType, Status};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PREFIX: &str = "behalf_operator";

/// Buckets in seconds: from a reconcile that writes nothing to the time limit of one minute.
const DURATION_SECONDS: [f64; 10] = [0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

/// Buckets in seconds: from an idle operator to one that works through hundreds of objects after its start.
const WAIT_SECONDS: [f64; 8] = [0.005, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0];

/// Values that are read when the metrics are requested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gauges {
    /// `McpServers` in the watched namespaces.
    pub mcp_servers: usize,

    /// `McpServers` by the status and the reason of each of their conditions.
    pub conditions: HashMap<(ConditionType, Status, Reason), usize>,

    /// `McpServers` whose next key waits until every Pod reports it.
    pub key_rotations_waiting: usize,

    /// Objects that an event triggered and whose reconcile has not begun.
    pub reconciles_waiting: usize,

    /// Ready Pods whose status document cannot be read.
    pub pods_unreachable: usize,

    /// Whether most ready Pods are unreachable, so that the cause is on the operator's side.
    pub most_pods_unreachable: bool,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabels {
    step: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConditionLabels {
    condition: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    condition: &'static str,
    status: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DroppedLabels {
    reason: &'static str,
}

/// All metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    leads: Gauge,
    reconciles: Family<ResultLabels, Counter>,
    failures: Family<StepLabels, Counter>,
    duration: Histogram,
    wait: Histogram,
    waiting: Gauge,
    running: Gauge,
    api_requests: Counters,
    mcp_servers: Gauge,
    by_condition: Family<ConditionLabels, Gauge>,
    key_rotations_waiting: Gauge,
    pods_unreachable: Gauge,
    most_pods_unreachable: Gauge,
    spans_dropped: Family<DroppedLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let reconciles = zeros(ReconcileResult::LABELS.map(|result| ResultLabels { result }));
        let failures = zeros(ReconcileStep::ALL.map(|step| StepLabels { step: step.as_str() }));
        let dropped = zeros(DropReason::ALL.map(|reason| DroppedLabels {
            reason: reason.as_str(),
        }));
        let to = &mut registry;
        Self {
            reconciles: add(
                to,
                "reconciles",
                "Reconciles of McpServers, by result",
                reconciles,
            ),
            failures: add(
                to,
                "reconcile_failures",
                "Reconciles that failed, by the step that failed",
                failures,
            ),
            duration: add(
                to,
                "reconcile_duration_seconds",
                "Duration of a reconcile of one McpServer",
                Histogram::new(DURATION_SECONDS),
            ),
            wait: add(
                to,
                "reconcile_wait_seconds",
                "Time from the event that triggers a reconcile until it begins",
                Histogram::new(WAIT_SECONDS),
            ),
            waiting: add(
                to,
                "reconciles_waiting",
                "McpServers that an event triggered and whose reconcile has not begun",
                Gauge::default(),
            ),
            running: add(
                to,
                "reconciles_running",
                "Reconciles that run now",
                Gauge::default(),
            ),
            api_requests: add(
                to,
                "api_requests",
                "Requests to the API server, by verb, resource and status code",
                Counters::default(),
            ),
            mcp_servers: add(
                to,
                "mcp_servers",
                "McpServers in the watched namespaces",
                Gauge::default(),
            ),
            by_condition: add(
                to,
                "mcp_servers_by_condition",
                "McpServers whose condition has this status",
                Family::default(),
            ),
            key_rotations_waiting: add(
                to,
                "key_rotations_waiting",
                "McpServers whose next key waits until every Pod reports it",
                Gauge::default(),
            ),
            pods_unreachable: add(
                to,
                "pods_unreachable",
                "Ready Pods whose status document cannot be read",
                Gauge::default(),
            ),
            most_pods_unreachable: add(
                to,
                "most_pods_unreachable",
                "1 while most ready Pods are unreachable, so that the cause is on the operator's side",
                Gauge::default(),
            ),
            spans_dropped: add(
                to,
                "trace_spans_dropped",
                "Spans that the trace collector did not get, by reason",
                dropped,
            ),
            leads: add(
                to,
                "leads",
                "1 while this replica holds the Lease and reconciles",
                Gauge::default(),
            ),
            registry,
        }
    }
}

/// Makes counters that exist from the start: an alert on an increase needs the zero before it.
fn zeros<L: Clone + Hash + Eq, const COUNT: usize>(labels: [L; COUNT]) -> Family<L, Counter> {
    let family = Family::default();
    for labels in labels {
        drop(family.get_or_create(&labels));
    }
    family
}

/// Adds a metric to the registry and returns it.
fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// A reconcile that runs.
#[derive(Debug)]
pub struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Counts a reconcile that ended after `duration`.
    pub fn reconciled(&self, result: ReconcileResult, duration: Duration) {
        let label = result.label();
        self.reconciles
            .get_or_create(&ResultLabels { result: label })
            .inc();
        if let ReconcileResult::Failed(step) = result {
            self.failures
                .get_or_create(&StepLabels { step: step.as_str() })
                .inc();
        }
        self.duration.observe(duration.as_secs_f64());
    }

    /// Records for how long an object waited for its reconcile.
    pub fn waited(&self, duration: Duration) {
        self.wait.observe(duration.as_secs_f64());
    }

    /// Counts a reconcile as running until the returned value is dropped.
    pub fn running(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }

    /// Returns the layer that counts the requests of kube's client.
    pub fn count_requests(&self) -> CountRequests {
        CountRequests(self.api_requests.clone())
    }

    /// Counts spans that the trace collector did not get.
    pub fn spans_dropped(&self, reason: DropReason, count: usize) {
        let reason = reason.as_str();
        let counter = self.spans_dropped.get_or_create(&DroppedLabels { reason });
        counter.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Tells that this process reconciles. A process that loses the right to ends.
    pub fn leads(&self) {
        self.leads.set(1);
    }

    /// Returns all metrics as [`CONTENT_TYPE`].
    pub fn encode(&self, gauges: &Gauges) -> Result<String, std::fmt::Error> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.mcp_servers.set(number(gauges.mcp_servers));
        self.waiting.set(number(gauges.reconciles_waiting));
        for &kind in ConditionType::ALL {
            for &status in Status::ALL {
                let labels = ConditionLabels {
                    condition: kind.as_str(),
                    status: status.as_str(),
                };
                let of_each_reason = gauges.conditions.iter();
                let count = of_each_reason.filter(|((of, is, _), _)| (*of, *is) == (kind, status));
                let count = count.map(|(_, count)| count).sum();
                self.by_condition.get_or_create(&labels).set(number(count));
            }
        }
        self.key_rotations_waiting
            .set(number(gauges.key_rotations_waiting));
        self.pods_unreachable.set(number(gauges.pods_unreachable));
        self.most_pods_unreachable
            .set(i64::from(gauges.most_pods_unreachable));
        let mut body = String::new();
        text::encode_registry(&mut body, &self.registry)?;
        text::encode_registry(&mut body, &by_reason(&gauges.conditions))?;
        text::encode_eof(&mut body)?;
        Ok(body)
    }
}

/// Makes the gauge of the reasons. Each request gets a new one, because a reason that no object has any more disappears, and
/// zeros for each condition and reason would be thousands of lines.
fn by_reason(conditions: &HashMap<(ConditionType, Status, Reason), usize>) -> Registry {
    let family = Family::<ReasonLabels, Gauge>::default();
    for ((kind, status, reason), &count) in conditions {
        let labels = ReasonLabels {
            condition: kind.as_str(),
            status: status.as_str(),
            reason: reason.as_str(),
        };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        family.get_or_create(&labels).set(count);
    }
    let mut registry = Registry::with_prefix(PREFIX);
    let help = "McpServers whose condition has this status for this reason";
    registry.register("mcp_servers_by_reason", help, family);
    registry
}

#[cfg(test)]
mod tests {
    use super::super::api_requests::RequestLabels;
    use super::*;

    #[test]
    fn counts_reconciles_by_result_and_failures_by_step_and_measures_their_duration() {
        let metrics = Metrics::default();
        let second = Duration::from_secs(1);
        metrics.reconciled(ReconcileResult::Accepted, Duration::from_millis(3));
        metrics.reconciled(ReconcileResult::Failed(ReconcileStep::Apply), second);
        metrics.reconciled(ReconcileResult::Failed(ReconcileStep::Apply), second);
        metrics.leads();
        metrics.spans_dropped(DropReason::NotAccepted, 3);
        metrics.waited(second);
        drop(metrics.running());
        let _running = metrics.running();
        let text = metrics
            .encode(&Gauges {
                mcp_servers: 3,
                conditions: [
                    ((ConditionType::Ready, Status::True, Reason::Ready), 2),
                    ((ConditionType::Accepted, Status::False, Reason::InvalidSpec), 20),
                    (
                        (ConditionType::Accepted, Status::False, Reason::PublicUrlTaken),
                        10,
                    ),
                ]
                .into(),
                key_rotations_waiting: 1,
                reconciles_waiting: 5,
                pods_unreachable: 2,
                most_pods_unreachable: true,
            })
            .unwrap();
        for line in [
            r#"behalf_operator_reconciles_total{result="accepted"} 1"#,
            r#"behalf_operator_reconciles_total{result="refused"} 0"#,
            r#"behalf_operator_reconciles_total{result="failed"} 2"#,
            r#"behalf_operator_reconcile_failures_total{step="apply"} 2"#,
            r#"behalf_operator_reconcile_failures_total{step="timeout"} 0"#,
            r#"behalf_operator_reconcile_duration_seconds_bucket{le="0.005"} 1"#,
            r#"behalf_operator_reconcile_duration_seconds_bucket{le="1.0"} 3"#,
            "behalf_operator_reconcile_duration_seconds_count 3",
            r#"behalf_operator_reconcile_wait_seconds_bucket{le="0.25"} 0"#,
            r#"behalf_operator_reconcile_wait_seconds_bucket{le="1.0"} 1"#,
            "behalf_operator_key_rotations_waiting 1",
            r#"behalf_operator_trace_spans_dropped_total{reason="not_accepted"} 3"#,
            r#"behalf_operator_trace_spans_dropped_total{reason="queue_full"} 0"#,
            "behalf_operator_reconciles_waiting 5",
            "behalf_operator_reconciles_running 1",
            r#"behalf_operator_mcp_servers_by_condition{condition="Ready",status="True"} 2"#,
            r#"behalf_operator_mcp_servers_by_condition{condition="Ready",status="False"} 0"#,
            r#"behalf_operator_mcp_servers_by_condition{condition="Accepted",status="False"} 30"#,
            r#"behalf_operator_mcp_servers_by_reason{condition="Accepted",status="False",reason="InvalidSpec"} 20"#,
            r#"behalf_operator_mcp_servers_by_reason{condition="Accepted",status="False",reason="PublicUrlTaken"} 10"#,
            "behalf_operator_leads 1",
            "behalf_operator_mcp_servers 3",
            "behalf_operator_pods_unreachable 2",
            "behalf_operator_most_pods_unreachable 1",
        ] {
            assert!(
                text.lines().any(|other| other == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn a_reason_that_no_object_has_any_more_disappears() {
        let metrics = Metrics::default();
        let refused = Gauges {
            conditions: [((ConditionType::Accepted, Status::False, Reason::InvalidSpec), 1)].into(),
            ..Gauges::default()
        };
        let before = metrics.encode(&refused).unwrap();
        assert!(
            before.contains("InvalidSpec") && before.ends_with("# EOF\n"),
            "{before}"
        );
        let after = metrics.encode(&Gauges::default()).unwrap();
        assert!(!after.contains("InvalidSpec"), "{after}");
        assert_eq!(after.matches("# EOF").count(), 1, "{after}");
    }

    #[test]
    fn every_metric_is_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let documented = std::fs::read_to_string(path).unwrap();
        let metrics = Metrics::default();
        // Without a request, this one is not written.
        drop(metrics.api_requests.get_or_create(&RequestLabels {
            verb: "get",
            resource: "pods",
            code: "200".to_owned(),
        }));
        let conditions = [((ConditionType::Ready, Status::True, Reason::Ready), 1)].into();
        let gauges = Gauges {
            conditions,
            ..Gauges::default()
        };
        let text = metrics.encode(&gauges).unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names: Vec<String> = types
            .map(|line| match line.split_once(' ') {
                Some((name, "counter")) => format!("{name}_total"),
                Some((name, _)) => name.to_owned(),
                None => panic!("{line}"),
            })
            .collect();
        assert_eq!(names.len(), 15);
        for name in names {
            assert!(
                documented.contains(&format!("`{name}`")),
                "docs/metrics.md does not explain {name}"
            );
        }
    }
}
