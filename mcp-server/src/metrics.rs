//! The metrics of the server for Prometheus. Labels come from closed lists without data of users or calls. `docs/metrics.md`
//! explains them.

use std::time::Duration;

use behalf_entra::{TokenRequest, TokenRequestObserver};
use behalf_runtime::trace;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Buckets in seconds, from an answer of a near region to a delayed answer for a busy user.
const SECONDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GrantLabels {
    grant: &'static str,
    outcome: &'static str,
}

/// The label of an exemplar.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TraceLabels {
    trace_id: String,
}

/// A histogram whose buckets name the trace of a recent request.
type Seconds = HistogramWithExemplars<TraceLabels>;

fn seconds() -> Seconds {
    Seconds::new(SECONDS.into_iter())
}

/// Adds a duration, with the trace of the current call if it is recorded.
fn observe(histogram: &Seconds, took: Duration) {
    let trace = trace::current().and_then(|trace| trace.recorded_id());
    let exemplar = trace.map(|id| TraceLabels {
        trace_id: id.to_string(),
    });
    histogram.observe(took.as_secs_f64(), exemplar, None);
}

/// An endpoint of Azure DevOps that the tools use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The list of pipeline runs.
    Builds,
    Build,
    Timeline,
    /// The list of a run's logs.
    Logs,
    Log,
    /// A pipeline.
    Definition,
    /// A new run of a pipeline.
    Run,
    Deployments,
}

impl Operation {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Builds => "builds",
            Self::Build => "build",
            Self::Timeline => "timeline",
            Self::Logs => "logs",
            Self::Log => "log",
            Self::Definition => "definition",
            Self::Run => "run",
            Self::Deployments => "deployments",
        }
    }
}

/// The result of one request to Azure DevOps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// The requested answer.
    Success,

    /// The user sent too many requests.
    Throttled,

    /// Azure DevOps refused the token or the request.
    Refused,

    /// No answer, or that of a service that is down.
    Unavailable,

    /// The answer is larger than the server reads, or its memory for answers is full.
    Unread,
}

impl RequestOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Unread => "unread",
        }
    }
}

/// The metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Seconds, fn() -> Seconds>,
    entra_requests: Family<GrantLabels, Seconds, fn() -> Seconds>,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = Family::new_with_constructor(seconds as fn() -> Seconds);
        let entra_requests = Family::new_with_constructor(seconds as fn() -> Seconds);
        let mut registry = Registry::with_prefix("behalf");
        registry.register(
            "azure_devops_request_seconds",
            "Seconds of a request to Azure DevOps until its answer is read, by operation and outcome",
            requests.clone(),
        );
        registry.register(
            "entra_request_seconds",
            "Seconds of a request to Entra's token endpoint, by grant and outcome",
            entra_requests.clone(),
        );
        Self {
            registry,
            requests,
            entra_requests,
        }
    }
}

impl TokenRequestObserver for Metrics {
    fn observe(&self, request: &TokenRequest<'_>) {
        let labels = GrantLabels {
            grant: request.grant,
            outcome: if request.error.is_none() {
                "success"
            } else {
                "failure"
            },
        };
        observe(
            &self.entra_requests.get_or_create(&labels),
            request.began.elapsed(),
        );
    }
}

impl Metrics {
    /// Counts a request to Azure DevOps.
    pub(crate) fn request(&self, operation: Operation, outcome: RequestOutcome, took: Duration) {
        let labels = RequestLabels {
            operation: operation.as_str(),
            outcome: outcome.as_str(),
        };
        observe(&self.requests.get_or_create(&labels), took);
    }

    /// Returns all metrics as [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut page = String::new();
        // Writing to a String fails only when the encoder of a metric fails. The page is then empty.
        match text::encode(&mut page, &self.registry) {
            Ok(()) => page,
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn every_metric_and_each_of_its_labels_is_documented() {
        let page = include_str!("../../docs/metrics.md");
        let (_, page) = page.split_once("## Built-in server").unwrap();
        let metrics = Metrics::default();
        let outcomes = [
            RequestOutcome::Success,
            RequestOutcome::Throttled,
            RequestOutcome::Refused,
            RequestOutcome::Unavailable,
            RequestOutcome::Unread,
        ];
        let operations = [
            Operation::Builds,
            Operation::Build,
            Operation::Timeline,
            Operation::Logs,
            Operation::Log,
            Operation::Definition,
            Operation::Run,
            Operation::Deployments,
        ];
        for outcome in outcomes {
            metrics.request(Operation::Builds, outcome, Duration::from_millis(100));
        }
        metrics.observe(&TokenRequest {
            grant: "on_behalf_of",
            began: Instant::now(),
            error: None,
        });
        let text = metrics.encode();
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names: Vec<&str> = names.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(
            names,
            [
                "behalf_azure_devops_request_seconds",
                "behalf_entra_request_seconds"
            ]
        );
        let [row, _] = [names[0], names[1]].map(|name| {
            let row = format!("| `{name}` |");
            page.lines().find(|line| line.starts_with(&row)).unwrap()
        });
        for operation in operations.map(Operation::as_str) {
            assert!(row.contains(&format!("`{operation}`")), "{row}");
        }
        for outcome in outcomes {
            let outcome = outcome.as_str();
            assert!(text.contains(&format!("outcome=\"{outcome}\"")), "{text}");
            assert!(row.contains(&format!("`{outcome}`")), "{row}");
        }
    }
}
