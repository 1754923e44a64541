//! Counts, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the operator counts of itself.
#[derive(Debug, Default)]
pub struct Metrics {
    succeeded: AtomicU64,
    failed: Mutex<BTreeMap<&'static str, u64>>,
}

/// What is measured at the moment of asking.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gauges {
    /// Objects.
    pub mcp_servers: usize,

    /// Ready Pods whose status cannot be read.
    pub pods_unreachable: usize,

    /// Whether these are so many that the operator believes itself cut off.
    pub sight_lost: bool,
}

impl Metrics {
    /// A pass over an object came to its end.
    pub fn pass_succeeded(&self) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
    }

    /// A pass failed in a step.
    pub fn pass_failed(&self, step: &'static str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *failed.entry(step).or_insert(0) += 1;
    }

    /// Everything as text.
    pub fn render(&self, gauges: Gauges) -> String {
        let mut text = String::new();
        metric(
            &mut text,
            "behalf_operator_passes_total",
            "counter",
            "Passes over an McpServer that came to their end.",
            &[("", self.succeeded.load(Ordering::Relaxed))],
        );
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let failed: Vec<(String, u64)> = failed
            .iter()
            .map(|(step, count)| (format!("{{step=\"{step}\"}}"), *count))
            .collect();
        let failed: Vec<(&str, u64)> = failed
            .iter()
            .map(|(labels, count)| (labels.as_str(), *count))
            .collect();
        metric(
            &mut text,
            "behalf_operator_failed_passes_total",
            "counter",
            "Passes that failed, by step.",
            &failed,
        );
        metric(
            &mut text,
            "behalf_operator_mcp_servers",
            "gauge",
            "McpServers.",
            &[("", gauges.mcp_servers as u64)],
        );
        metric(
            &mut text,
            "behalf_operator_pods_unreachable",
            "gauge",
            "Ready Pods whose status cannot be read.",
            &[("", gauges.pods_unreachable as u64)],
        );
        metric(
            &mut text,
            "behalf_operator_sight_lost",
            "gauge",
            "1 while most Pods are unreachable: the operator is cut off and rewrites no object for it.",
            &[("", u64::from(gauges.sight_lost))],
        );
        text
    }
}

fn metric(text: &mut String, name: &str, kind: &str, help: &str, samples: &[(&str, u64)]) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_failures_by_step() {
        let metrics = Metrics::default();
        metrics.pass_succeeded();
        metrics.pass_failed("apply");
        metrics.pass_failed("apply");
        let text = metrics.render(Gauges {
            mcp_servers: 3,
            pods_unreachable: 1,
            sight_lost: false,
        });
        assert!(text.contains("\nbehalf_operator_passes_total 1\n"), "{text}");
        assert!(
            text.contains("behalf_operator_failed_passes_total{step=\"apply\"} 2\n"),
            "{text}"
        );
        assert!(text.contains("behalf_operator_mcp_servers 3\n"), "{text}");
    }
}
