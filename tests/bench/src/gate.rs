//! The gate of CI: bounds on ratios to nginx, because times differ between machines. Each run proves that the gate is not
//! blind: a sidecar behind a planted slowdown must break it.

use std::time::Duration;

use crate::error::BenchError;
use crate::rounds::Plan;
use crate::subjects::Kind;
use crate::summary::{AtRate, Summary};

/// Calls per second of the gate. Every runner holds it.
const RATE: u32 = 1000;

/// Delay that the planted slowdown adds to each call. It is several times what nginx adds.
pub(crate) const PLANTED: Duration = Duration::from_micros(500);

/// Ratio of the added median. Measured are 1.3 to 1.8; the rest is slack for a noisy runner.
const MOST_ADDED: f64 = 3.0;

/// Ratio of the CPU time of a call. Measured are 1.3 to 1.9.
const MOST_CPU: f64 = 3.0;

/// Share of nginx's calls per second. Measured are 0.41 to 0.50.
const LEAST_CALLS: f64 = 0.25;

/// A run of about 30 s.
pub(crate) fn plan() -> Plan {
    Plan {
        rates: vec![RATE],
        time: Duration::from_millis(1500),
        rounds: 3,
    }
}

/// Checks the bounds. The error names each one that is broken.
pub(crate) fn check(summary: &Summary) -> Result<(), BenchError> {
    let find = |kind| {
        summary
            .at_rate(RATE, kind)
            .ok_or_else(|| BenchError::new(format!("the gate did not measure: {kind}")))
    };
    let mut broken = slow(find(Kind::SidecarHeader)?);
    let limit = summary.at_limit(Kind::SidecarHeader).map(|row| row.ratio);
    let limit = limit.unwrap_or_default();
    if limit < LEAST_CALLS || limit.is_nan() {
        broken.push(format!(
            "the sidecar reaches {limit:.2} of nginx's calls per second; the bound is {LEAST_CALLS}"
        ));
    }
    if slow(find(Kind::Slowed)?).is_empty() {
        broken.push(format!(
            "the gate does not notice a planted slowdown of {} µs per call",
            PLANTED.as_micros()
        ));
    }
    if broken.is_empty() {
        return Ok(());
    }
    Err(BenchError::new(broken.join("; ")))
}

/// The bounds that a sidecar breaks at the gate's rate.
fn slow(row: &AtRate) -> Vec<String> {
    [
        ("adds", row.ratio[0], "nginx's median latency", MOST_ADDED),
        ("uses", row.cpu_ratio, "nginx's CPU time per call", MOST_CPU),
    ]
    .into_iter()
    // A ratio that is no number breaks the bound, too.
    .filter(|(_, ratio, _, most)| !(0.0..=*most).contains(ratio))
    .map(|(verb, ratio, of, most)| format!("the sidecar {verb} {ratio:.1} times {of}; the bound is {most}"))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::AtLimit;

    fn summary(added: f64, cpu: f64, calls: f64, slowed: f64) -> Summary {
        let row = |kind, added, cpu_ratio| AtRate {
            rate: RATE,
            kind,
            added: [added; 3],
            ratio: [added; 3],
            cpu: 1.0,
            cpu_ratio,
        };
        Summary {
            at_rate: vec![
                row(Kind::SidecarHeader, added, cpu),
                row(Kind::Slowed, slowed, cpu),
            ],
            at_limit: vec![AtLimit {
                kind: Kind::SidecarHeader,
                calls: 1.0,
                ratio: calls,
                p99: 1.0,
                p99_ratio: 1.0,
                cpu: 1.0,
                core_share: 1.0,
            }],
        }
    }

    #[test]
    fn each_bound_fails_the_gate_and_so_does_a_slowdown_that_nobody_notices() {
        assert!(check(&summary(2.0, 2.4, 0.3, 9.0)).is_ok());
        for (broken, says) in [
            (summary(3.1, 2.4, 0.3, 9.0), "median"),
            (summary(f64::NAN, 2.4, 0.3, 9.0), "median"),
            (summary(2.0, 3.1, 0.3, 9.0), "CPU"),
            (summary(2.0, 2.4, 0.24, 9.0), "calls per second"),
            (summary(2.0, 2.4, 0.3, 2.0), "planted"),
        ] {
            let error = check(&broken).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
