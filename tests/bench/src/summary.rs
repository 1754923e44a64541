//! From rounds to numbers: the median over the rounds of what a program adds to the direct call, and of its ratio to what
//! nginx adds in the same round.

use crate::rounds::{Measurement, Round};
use crate::subjects::Kind;

/// The quantiles of a latency that are reported.
pub(crate) const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// A program at a rate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AtRate {
    pub(crate) rate: u32,
    pub(crate) kind: Kind,

    /// Microseconds that the program adds to the latency of the direct call. For the direct call, its latency.
    pub(crate) added: [f64; 3],

    /// Ratio to the added latency of nginx.
    pub(crate) ratio: [f64; 3],

    /// CPU time of 1,000 calls, in milliseconds.
    pub(crate) cpu: f64,

    /// Ratio to nginx's CPU time.
    pub(crate) cpu_ratio: f64,
}

/// A program at its limit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AtLimit {
    pub(crate) kind: Kind,

    /// Calls per second.
    pub(crate) calls: f64,

    /// Ratio to nginx's calls per second.
    pub(crate) ratio: f64,

    /// The 99th percentile, in microseconds.
    pub(crate) p99: f64,

    /// Ratio to nginx's 99th percentile.
    pub(crate) p99_ratio: f64,

    /// CPU time of 1,000 calls, in milliseconds.
    pub(crate) cpu: f64,

    /// The share of its core that the program used. Below 0.95 the generator was the limit.
    pub(crate) core_share: f64,
}

/// The numbers of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) at_rate: Vec<AtRate>,
    pub(crate) at_limit: Vec<AtLimit>,
}

impl Summary {
    pub(crate) fn of(rounds: &[Round]) -> Self {
        let Some(first) = rounds.first() else {
            return Self::default();
        };
        let at_rate = first.at_rate.keys().map(|&(rate, kind)| {
            let over = |value: &dyn Fn(&Measurement, &Measurement, &Measurement) -> f64| {
                median(rounds.iter().filter_map(|round| {
                    let of = |kind| round.at_rate.get(&(rate, kind));
                    Some(value(of(kind)?, of(Kind::Direct)?, of(Kind::Nginx)?))
                }))
            };
            let added = |measured: &Measurement, direct: &Measurement, quantile| {
                measured.sample.microseconds(quantile) - direct.sample.microseconds(quantile)
            };
            AtRate {
                rate,
                kind,
                added: QUANTILES.map(|(_, quantile)| {
                    over(&|measured, direct, _| {
                        if kind == Kind::Direct {
                            measured.sample.microseconds(quantile)
                        } else {
                            added(measured, direct, quantile)
                        }
                    })
                }),
                ratio: QUANTILES.map(|(_, quantile)| {
                    over(&|measured, direct, nginx| {
                        added(measured, direct, quantile) / added(nginx, direct, quantile)
                    })
                }),
                cpu: over(&|measured, _, _| measured.cpu_milliseconds()),
                cpu_ratio: over(&|measured, _, nginx| measured.cpu_milliseconds() / nginx.cpu_milliseconds()),
            }
        });
        let at_limit = first.at_limit.keys().map(|&kind| {
            let over = |value: &dyn Fn(&Measurement, &Measurement) -> f64| {
                median(rounds.iter().filter_map(|round| {
                    Some(value(
                        round.at_limit.get(&kind)?,
                        round.at_limit.get(&Kind::Nginx)?,
                    ))
                }))
            };
            AtLimit {
                kind,
                calls: over(&|measured, _| measured.sample.rate()),
                ratio: over(&|measured, nginx| measured.sample.rate() / nginx.sample.rate()),
                p99: over(&|measured, _| measured.sample.microseconds(0.99)),
                p99_ratio: over(&|measured, nginx| {
                    measured.sample.microseconds(0.99) / nginx.sample.microseconds(0.99)
                }),
                cpu: over(&|measured, _| measured.cpu_milliseconds()),
                core_share: over(&|measured, _| measured.core_share()),
            }
        });
        Self {
            at_rate: at_rate.collect(),
            at_limit: at_limit.collect(),
        }
    }

    pub(crate) fn at_rate(&self, rate: u32, kind: Kind) -> Option<&AtRate> {
        self.at_rate
            .iter()
            .find(|row| row.rate == rate && row.kind == kind)
    }

    pub(crate) fn at_limit(&self, kind: Kind) -> Option<&AtLimit> {
        self.at_limit.iter().find(|row| row.kind == kind)
    }
}

/// The middle value; the larger of two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hdrhistogram::Histogram;

    use super::*;
    use crate::generator::Sample;

    fn measured(microseconds: u64, cpu: u64) -> Measurement {
        let mut latencies = Histogram::new(3).unwrap();
        latencies.record_n(microseconds * 1000, 1000).unwrap();
        Measurement {
            sample: Sample {
                calls: 1000,
                time: Duration::from_secs(1),
                latencies,
            },
            cpu: Duration::from_millis(cpu),
        }
    }

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() < right.abs() * 0.01
    }

    #[test]
    fn reports_the_median_of_what_is_added_and_of_the_ratio_in_each_round() {
        // In the second round the machine is three times slower: differences triple, ratios stay.
        let round = |factor: u64| Round {
            at_rate: [
                ((2000, Kind::Direct), measured(50 * factor, 0)),
                ((2000, Kind::Nginx), measured(90 * factor, 20)),
                ((2000, Kind::SidecarHeader), measured(130 * factor, 50)),
            ]
            .into(),
            at_limit: [
                (Kind::Nginx, measured(1000, 900)),
                (Kind::SidecarHeader, measured(4000, 990)),
            ]
            .into(),
        };
        let summary = Summary::of(&[round(1), round(3), round(1)]);
        let sidecar = summary.at_rate(2000, Kind::SidecarHeader).unwrap();
        assert!(near(sidecar.added[0], 80.0), "{sidecar:?}");
        assert!(near(sidecar.ratio[1], 2.0), "{sidecar:?}");
        assert!(near(sidecar.cpu_ratio, 2.5), "{sidecar:?}");
        assert!(near(summary.at_rate(2000, Kind::Direct).unwrap().added[0], 50.0));
        let limit = summary.at_limit(Kind::SidecarHeader).unwrap();
        assert!(
            near(limit.p99_ratio, 4.0) && near(limit.core_share, 0.99),
            "{limit:?}"
        );
    }
}
