//! Interleaved rounds: each round measures every program at every rate, so that a change of the machine's speed during the
//! run meets all of them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use crate::error::{BenchError, Step as _};
use crate::generator::{Clients, Sample};
use crate::subjects::{Kind, Subject};

/// Number of connections at a rate.
const CONNECTIONS: usize = 64;

/// Number of connections at the limit.
pub(crate) const LIMIT_CONNECTIONS: usize = 256;

/// The share of its rate that the direct call must reach.
const HELD: f64 = 0.99;

/// The longest p99 of the direct call that is plausible on a machine on which nothing else runs, in microseconds.
const QUIET: f64 = 5000.0;

/// The size of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Calls per second.
    pub(crate) rates: Vec<u32>,

    /// Time of one measurement.
    pub(crate) time: Duration,

    /// Number of rounds.
    pub(crate) rounds: usize,
}

/// One measurement of one program.
pub(crate) struct Measurement {
    pub(crate) sample: Sample,

    /// CPU time that the program used.
    pub(crate) cpu: Duration,
}

impl Measurement {
    /// CPU time of 1,000 calls, in milliseconds.
    pub(crate) fn cpu_milliseconds(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / f64::from(self.sample.calls.max(1))
    }

    /// The share of its core that the program used.
    pub(crate) fn core_share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.sample.time.as_secs_f64()
    }
}

/// The measurements of one round.
#[derive(Default)]
pub(crate) struct Round {
    pub(crate) at_rate: BTreeMap<(u32, Kind), Measurement>,
    pub(crate) at_limit: BTreeMap<Kind, Measurement>,
}

/// Runs all rounds. A round in which the direct call did not hold a rate is measured again. Fails if more rounds are such than count.
/// Returns the rounds, and the number of those that did not count.
pub(crate) async fn run(subjects: &[Subject], plan: &Plan) -> Result<(Vec<Round>, usize), BenchError> {
    counted(plan.rounds, async |number| {
        measure_round(subjects, plan, number).await
    })
    .await
}

/// Measures until `wanted` rounds count.
async fn counted(
    wanted: usize,
    mut measure: impl AsyncFnMut(usize) -> Result<Round, BenchError>,
) -> Result<(Vec<Round>, usize), BenchError> {
    let mut rounds = Vec::new();
    let mut noisy = 0;
    while rounds.len() < wanted {
        let number = rounds.len();
        let _ = writeln!(std::io::stderr(), "round {} of {wanted}", number + 1);
        let round = measure(number).await?;
        match check_direct(&round) {
            Ok(()) => rounds.push(round),
            Err(error) if noisy == wanted => return Err(error),
            Err(error) => {
                noisy += 1;
                let _ = writeln!(std::io::stderr(), "this round does not count: {error}");
            }
        }
    }
    Ok((rounds, noisy))
}

async fn measure_round(subjects: &[Subject], plan: &Plan, number: usize) -> Result<Round, BenchError> {
    let mut round = Round::default();
    // Each round begins with another program.
    let first = number % subjects.len().max(1);
    let order = || subjects[first..].iter().chain(&subjects[..first]);
    for &rate in &plan.rates {
        for subject in order().filter(|subject| subject.has_rates()) {
            let measurement = measure(subject, CONNECTIONS, async |clients: Clients| {
                clients.at_rate(rate, plan.time).await
            })
            .await
            .step(format_args!("measure: {} at {rate}/s", subject.kind))?;
            round.at_rate.insert((rate, subject.kind), measurement);
        }
    }
    for subject in order().filter(|subject| subject.has_limit()) {
        let measurement = measure(subject, LIMIT_CONNECTIONS, async |clients: Clients| {
            clients.at_limit(plan.time).await
        })
        .await
        .step(format_args!("measure: {} at the limit", subject.kind))?;
        round.at_limit.insert(subject.kind, measurement);
    }
    Ok(round)
}

async fn measure(
    subject: &Subject,
    connections: usize,
    load: impl AsyncFnOnce(Clients) -> Result<Sample, BenchError>,
) -> Result<Measurement, BenchError> {
    let clients = Clients::open(&subject.target, connections).await?;
    let before = subject.cpu()?;
    let sample = load(clients).await?;
    let cpu = subject.cpu()?.since(&before);
    Ok(Measurement { sample, cpu })
}

/// Latencies mean nothing if the generator or the machine is what is slow.
fn check_direct(round: &Round) -> Result<(), BenchError> {
    let direct = round
        .at_rate
        .iter()
        .filter(|((_, kind), _)| *kind == Kind::Direct);
    for ((rate, _), Measurement { sample, .. }) in direct {
        let (reached, p99) = (sample.rate(), sample.microseconds(0.99));
        if reached < f64::from(*rate) * HELD || p99 > QUIET {
            return Err(BenchError::new(format!(
                "the direct call does not hold {rate}/s (reached {reached:.0}/s, p99 {p99:.0} µs): nothing else may run on \
                 this machine; run the bench again"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    fn sample(calls: u32, seconds: u64, microseconds: u64) -> Sample {
        let mut latencies = Histogram::new(3).unwrap();
        latencies.record_n(microseconds * 1000, u64::from(calls)).unwrap();
        Sample {
            calls,
            time: Duration::from_secs(seconds),
            latencies,
        }
    }

    fn round(sample: Sample) -> Round {
        let cpu = Duration::ZERO;
        let at_rate = [((2000, Kind::Direct), Measurement { sample, cpu })].into();
        Round {
            at_rate,
            ..Round::default()
        }
    }

    /// Measures until two rounds count. The direct call is slow in those for which `slow` says so. Returns the result, and the number
    /// of all measured rounds.
    async fn two_rounds(slow: impl Fn(usize) -> bool) -> (Result<(Vec<Round>, usize), BenchError>, usize) {
        let mut measured = 0;
        let result = counted(2, async |_| {
            measured += 1;
            Ok(round(sample(2000, if slow(measured) { 2 } else { 1 }, 100)))
        })
        .await;
        (result, measured)
    }

    #[tokio::test]
    async fn a_run_fails_when_more_rounds_are_noisy_than_count() {
        let (rounds, measured) = two_rounds(|_| true).await;
        let error = rounds.err().unwrap().to_string();
        assert!(error.contains("does not hold 2000/s"), "{error}");
        assert_eq!(measured, 3);
    }

    #[tokio::test]
    async fn a_noisy_round_is_measured_again() {
        let (rounds, measured) = two_rounds(|number| number < 3).await;
        let (rounds, noisy) = rounds.unwrap();
        assert_eq!((rounds.len(), noisy, measured), (2, 2, 4));
    }

    #[tokio::test]
    async fn a_round_that_cannot_be_measured_ends_the_run() {
        let rounds = counted(2, async |_| Err(BenchError::new("the server is gone"))).await;
        assert_eq!(rounds.err().unwrap().to_string(), "the server is gone");
    }

    #[test]
    fn a_round_in_which_the_direct_call_is_slow_does_not_count() {
        assert!(check_direct(&round(sample(2000, 1, 100))).is_ok());
        assert!(check_direct(&round(sample(2000, 2, 100))).is_err());
        assert!(check_direct(&round(sample(2000, 1, 20_000))).is_err());
    }
}
