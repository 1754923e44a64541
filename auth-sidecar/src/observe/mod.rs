//! The probes of the sidecar. [`federation`] probes whether Entra accepts this Pod's token, [`handshake`] whether the MCP
//! server answers, and [`tenant`] which tenant Azure DevOps names for the organization. The status contains only their results
//! and the results of users' requests.

pub mod federation;
pub mod handshake;
mod handshake_error;
mod mcp_client;
mod probe_results;
pub mod schedule;
mod sentence;
pub mod sign_ins;
mod sse;
pub mod tenant;
pub(crate) mod user_answer;

use std::sync::Arc;
use std::time::Duration;

use behalf_contract::{Outcome, ServerInfo};
use behalf_entra::{AssertionClaims, Clock, EntraError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::keys::Random;
use crate::telemetry::metrics::Metrics;

pub use federation::FederationProbe;
pub use handshake::HandshakeProbe;
pub use handshake_error::HandshakeError;
pub use probe_results::ProbeResults;
pub use tenant::TenantProbe;

/// For this time after the start, a server that has never answered counts as starting. The kubelet may still
/// pull its image.
const START_LIMIT: Duration = Duration::from_mins(2);

/// Starts a federation probe before its scheduled time. Clones share the trigger.
#[derive(Debug, Clone, Default)]
pub struct ProbeTrigger(Arc<Notify>);

impl ProbeTrigger {
    /// Requests a probe, because Entra refused the client assertion of a user's request. Many requests start one
    /// probe. Probes keep the minimum gap of [`schedule::FEDERATION`].
    pub fn request(&self) {
        self.0.notify_one();
    }

    /// Waits for a call of [`ProbeTrigger::request`] since the last return.
    pub async fn requested(&self) {
        self.0.notified().await;
    }
}

/// Repeats the probes. The fields are what all probes need.
#[derive(Clone)]
pub struct ProbeLoop {
    /// Receives the last result.
    pub probe_results: Arc<ProbeResults>,

    /// Counts the results.
    pub metrics: Arc<Metrics>,

    /// Gives the time of each result.
    pub clock: Arc<dyn Clock>,

    /// Gives the jitter of the pauses.
    pub random: Arc<dyn Random>,

    /// Its cancellation ends the probes.
    pub stop: CancellationToken,
}

impl ProbeLoop {
    /// Probes the federation until [`ProbeLoop::stop`] is cancelled.
    pub async fn federation(self, probe: FederationProbe, trigger: ProbeTrigger) {
        self.repeat_federation(|| probe.run(), trigger).await;
    }

    async fn repeat_federation<F>(self, run: impl Fn() -> F, trigger: ProbeTrigger)
    where
        F: Future<Output = (Result<(), EntraError>, Option<AssertionClaims>)>,
    {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let Some((answer, claims)) = self.stop.run_until_cancelled(run()).await else {
                return;
            };
            let report = federation::report(&answer, claims, self.clock.now());
            self.metrics
                .federation_probe(label(report.outcome), &report.reason);
            if self.probe_results.publish_federation(report.clone()) {
                log_change("Federation", report.outcome, &report.reason, &report.message);
            }

            let pace = federation::pace(&answer, failures);
            failures = failures_of(pace);
            let pause = schedule::FEDERATION.pause(pace, self.random_number());
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = trigger.requested() => {
                    let gap = schedule::FEDERATION.remaining_gap(began.elapsed());
                    if self.stop.run_until_cancelled(tokio::time::sleep(gap)).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// Probes the MCP server until [`ProbeLoop::stop`] is cancelled.
    pub async fn handshake(self, probe: HandshakeProbe) {
        let probe_results = Arc::clone(&self.probe_results);
        let run = || async {
            let answer = probe.run().await;
            if probe.opened_session() {
                probe_results.server_is_stateful();
            }
            answer
        };
        self.repeat_handshake(run).await;
    }

    async fn repeat_handshake<F>(self, run: impl Fn() -> F)
    where
        F: Future<Output = Result<ServerInfo, HandshakeError>>,
    {
        let first = Instant::now();
        let mut never_answered = true;
        let mut failures = 0;
        loop {
            let Some(answer) = self.stop.run_until_cancelled(run()).await else {
                return;
            };
            never_answered &= matches!(answer, Err(HandshakeError::Unreachable(_)));
            let starting = never_answered && first.elapsed() < START_LIMIT;
            let report = handshake::report(&answer, starting, self.clock.now());
            if !starting {
                self.metrics
                    .handshake_probe(label(report.outcome), &report.reason);
            }
            if self.probe_results.publish_handshake(report.clone()) && !starting {
                log_change("MCP handshake", report.outcome, &report.reason, &report.message);
            }

            let pace = handshake::pace(&answer, failures);
            failures = failures_of(pace);
            let pause = if starting {
                schedule::STARTING
            } else {
                schedule::HANDSHAKE.pause(pace, self.random_number())
            };
            if self
                .stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Asks for the organization's tenant until [`ProbeLoop::stop`] is cancelled.
    pub async fn tenant(self, probe: TenantProbe) {
        let mut failures = 0;
        let mut was_answered = true;
        loop {
            let Some(answer) = self.stop.run_until_cancelled(probe.run()).await else {
                return;
            };
            // Pauses grow while a wrong tenant is answered. The first question without an answer is soon followed by the next.
            if was_answered != answer.is_ok() {
                failures = 0;
            }
            was_answered = answer.is_ok();
            let report = tenant::report(&answer, self.clock.now());
            if self.probe_results.publish_tenant(&report) {
                log_change("Tenant", report.outcome, &report.reason, &report.message);
            }

            let pace = tenant::pace(&answer, failures);
            failures = failures_of(pace);
            let pause = schedule::TENANT.pause(pace, self.random_number());
            if self
                .stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    fn random_number(&self) -> u32 {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        u32::from_ne_bytes(bytes)
    }
}

fn failures_of(pace: schedule::Pace) -> u32 {
    match pace {
        schedule::Pace::Settled => 0,
        schedule::Pace::Broken { failures, .. } => failures,
    }
}

fn label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Verified => "Verified",
        Outcome::Failed => "Failed",
        Outcome::Unknown => "Unknown",
    }
}

fn log_change(probe: &'static str, outcome: Outcome, reason: &str, message: &str) {
    match outcome {
        Outcome::Verified => tracing::info!(probe.reason = reason, "{probe} verified: {message}"),
        Outcome::Failed => tracing::error!(probe.reason = reason, "{probe} failed: {message}"),
        Outcome::Unknown => tracing::warn!(probe.reason = reason, "{probe} not known: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use behalf_entra::FixedClock;
    use jiff::Timestamp;

    use super::*;

    /// Returns always the middle number, so that pauses have almost no jitter.
    struct Middle;

    impl Random for Middle {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&(u32::MAX / 2).to_ne_bytes()[..bytes.len()]);
        }
    }

    fn probe_loop() -> ProbeLoop {
        ProbeLoop {
            probe_results: Arc::default(),
            metrics: Arc::default(),
            clock: Arc::new(FixedClock::new(Timestamp::UNIX_EPOCH)),
            random: Arc::new(Middle),
            stop: CancellationToken::new(),
        }
    }

    /// Records the whole seconds since its start, by tokio's clock, at which probes ran.
    #[derive(Clone)]
    struct Times(Instant, Arc<Mutex<Vec<u64>>>);

    impl Times {
        fn start() -> Self {
            Self(Instant::now(), Arc::default())
        }

        /// Records the current time. Returns the number of times recorded before.
        fn record(&self) -> usize {
            let mut times = self.1.lock().unwrap();
            times.push((self.0.elapsed() + Duration::from_millis(500)).as_secs());
            times.len() - 1
        }

        fn recorded(&self) -> Vec<u64> {
            self.1.lock().unwrap().clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_federation_is_probed_with_longer_pauses_and_its_fix_is_found_without_a_restart() {
        let probe_loop = probe_loop();
        let (probe_results, stop) = (Arc::clone(&probe_loop.probe_results), probe_loop.stop.clone());
        let times = Times::start();
        let run = {
            let times = times.clone();
            move || {
                let is_fixed = times.record() >= 6;
                async move {
                    (
                        if is_fixed {
                            Ok(())
                        } else {
                            Err(EntraError::TimedOut)
                        },
                        None,
                    )
                }
            }
        };
        let task = tokio::spawn(probe_loop.repeat_federation(run, ProbeTrigger::default()));
        tokio::time::sleep(Duration::from_secs(194)).await;
        assert_eq!(probe_results.federation().outcome, Outcome::Unknown);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(probe_results.federation().outcome, Outcome::Verified);
        tokio::time::sleep(Duration::from_secs(310)).await;
        assert_eq!(times.recorded(), [0, 5, 15, 35, 75, 135, 195, 495]);
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_users_failed_request_starts_a_probe_at_once_and_many_of_them_keep_the_gap() {
        let probe_loop = probe_loop();
        let stop = probe_loop.stop.clone();
        let times = Times::start();
        let run = {
            let times = times.clone();
            move || {
                times.record();
                async { (Ok(()), None) }
            }
        };
        let trigger = ProbeTrigger::default();
        let task = tokio::spawn(probe_loop.repeat_federation(run, trigger.clone()));
        tokio::time::sleep(Duration::from_secs(100)).await;
        for _ in 0..1000 {
            trigger.request();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_secs(50)).await;
        // The probe after the last request keeps the gap as well.
        assert_eq!(times.recorded(), [0, 100, 105, 110, 115]);
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_starting_server_is_probed_often_and_neither_logged_nor_counted() {
        let probe_loop = probe_loop();
        let (probe_results, metrics, stop) = (
            Arc::clone(&probe_loop.probe_results),
            Arc::clone(&probe_loop.metrics),
            probe_loop.stop.clone(),
        );
        let probes = Arc::new(Mutex::new(0));
        let run = {
            let probes = Arc::clone(&probes);
            move || {
                *probes.lock().unwrap() += 1;
                async { Err(HandshakeError::Unreachable("connection refused".into())) }
            }
        };
        let task = tokio::spawn(probe_loop.repeat_handshake(run));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(*probes.lock().unwrap() >= 38, "every quarter of a second");
        assert_eq!(probe_results.handshake().reason, "ServerStarting");
        assert!(
            !metrics
                .encode()
                .contains(r#"behalf_handshake_probes_total{outcome="Failed""#)
        );
        tokio::time::sleep(START_LIMIT).await;
        assert_eq!(probe_results.handshake().outcome, Outcome::Failed);
        assert_eq!(probe_results.handshake().reason, "ServerUnreachable");
        stop.cancel();
        task.await.unwrap();
    }
}
