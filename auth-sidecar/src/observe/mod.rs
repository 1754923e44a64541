//! What the sidecar looks at by itself, so that a status says only what was seen: whether Entra takes this
//! Pod's token ([`federation`]), and whether the MCP server answers ([`handshake`]).

mod board;
pub mod federation;
pub mod handshake;
mod mcp_client;
pub mod schedule;
pub mod sign_ins;
mod sse;

use std::sync::Arc;
use std::time::Duration;

use behalf_contract::{Outcome, ServerInfo};
use behalf_entra::{AssertionClaims, Clock, EntraError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::keys::Random;
use crate::telemetry::metrics::Metrics;

pub use board::StatusBoard;
pub use federation::FederationProbe;
pub use handshake::{HandshakeError, HandshakeProbe};

/// A server that never answered counts as starting for so long: its image may still be pulled.
const START_LIMIT: Duration = Duration::from_mins(2);

/// Asks for a federation probe out of turn. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ProbeTrigger(Arc<Notify>);

impl ProbeTrigger {
    /// Somebody's request met a client-authentication error: look soon. Many calls make one probe, and
    /// probes keep the gap of [`schedule::FEDERATION`].
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits until somebody woke it since the last time.
    pub async fn woken(&self) {
        self.0.notified().await;
    }
}

/// The state that every watch needs.
#[derive(Clone)]
pub struct Watch {
    /// Where results are published.
    pub board: Arc<StatusBoard>,

    /// Where results are counted.
    pub metrics: Arc<Metrics>,

    /// Times of observations.
    pub clock: Arc<dyn Clock>,

    /// Jitter.
    pub random: Arc<dyn Random>,

    /// Ends the watch.
    pub stop: CancellationToken,
}

impl Watch {
    /// Observes the federation until stopped.
    pub async fn federation(self, probe: FederationProbe, trigger: ProbeTrigger) {
        self.watch_federation(|| probe.ask(), trigger).await;
    }

    async fn watch_federation<F>(self, ask: impl Fn() -> F, trigger: ProbeTrigger)
    where
        F: Future<Output = (Result<(), EntraError>, Option<AssertionClaims>)>,
    {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let Some((answer, claims)) = self.stop.run_until_cancelled(ask()).await else {
                return;
            };
            let report = federation::report(&answer, claims, self.clock.now());
            self.metrics
                .federation_probe(label(report.outcome), &report.reason);
            if self.board.publish_federation(report.clone()) {
                announce("Federation", report.outcome, &report.reason, &report.message);
            }

            let pace = federation::pace(&answer, failures);
            failures = failures_of(pace);
            let pause = schedule::FEDERATION.pause(pace, self.random_number());
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = trigger.woken() => {
                    let gap = schedule::FEDERATION.remaining_gap(began.elapsed());
                    if self.stop.run_until_cancelled(tokio::time::sleep(gap)).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// Observes the MCP server until stopped.
    pub async fn handshake(self, probe: HandshakeProbe) {
        self.watch_handshake(|| probe.ask()).await;
    }

    async fn watch_handshake<F>(self, ask: impl Fn() -> F)
    where
        F: Future<Output = Result<ServerInfo, HandshakeError>>,
    {
        let first = Instant::now();
        let mut never_answered = true;
        let mut failures = 0;
        loop {
            let Some(answer) = self.stop.run_until_cancelled(ask()).await else {
                return;
            };
            never_answered &= matches!(answer, Err(HandshakeError::Unreachable(_)));
            let starting = never_answered && first.elapsed() < START_LIMIT;
            let report = handshake::report(&answer, starting, self.clock.now());
            if !starting {
                self.metrics
                    .handshake_probe(label(report.outcome), &report.reason);
            }
            if self.board.publish_handshake(report.clone()) && !starting {
                announce("MCP handshake", report.outcome, &report.reason, &report.message);
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

fn announce(what: &'static str, outcome: Outcome, reason: &str, message: &str) {
    match outcome {
        Outcome::Verified => tracing::info!(probe.reason = reason, "{what} verified: {message}"),
        Outcome::Failed => tracing::error!(probe.reason = reason, "{what} failed: {message}"),
        Outcome::Unknown => tracing::warn!(probe.reason = reason, "{what} not known: {message}"),
    }
}

/// An error's text as the start of a sentence.
pub(crate) fn capitalised(sentence: &str) -> String {
    let mut characters = sentence.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use behalf_entra::FixedClock;
    use jiff::Timestamp;

    use super::*;

    /// Always the same number, so that pauses have no jitter to speak of.
    struct Middle;

    impl Random for Middle {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&(u32::MAX / 2).to_ne_bytes()[..bytes.len()]);
        }
    }

    fn watch() -> Watch {
        Watch {
            board: Arc::default(),
            metrics: Arc::default(),
            clock: Arc::new(FixedClock::new(Timestamp::UNIX_EPOCH)),
            random: Arc::new(Middle),
            stop: CancellationToken::new(),
        }
    }

    /// The whole seconds, by tokio's clock, at which something was asked.
    #[derive(Clone)]
    struct Times(Instant, Arc<Mutex<Vec<u64>>>);

    impl Times {
        fn start() -> Self {
            Self(Instant::now(), Arc::default())
        }

        /// Notes the moment; the number of moments before it.
        fn note(&self) -> usize {
            let mut times = self.1.lock().unwrap();
            times.push((self.0.elapsed() + Duration::from_millis(500)).as_secs());
            times.len() - 1
        }

        fn seen(&self) -> Vec<u64> {
            self.1.lock().unwrap().clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_federation_is_asked_ever_less_often_and_a_mended_one_is_seen_without_a_restart() {
        let watch = watch();
        let (board, stop) = (Arc::clone(&watch.board), watch.stop.clone());
        let times = Times::start();
        let ask = {
            let times = times.clone();
            move || {
                let mended = times.note() >= 6;
                async move { (if mended { Ok(()) } else { Err(EntraError::TimedOut) }, None) }
            }
        };
        let task = tokio::spawn(watch.watch_federation(ask, ProbeTrigger::default()));
        tokio::time::sleep(Duration::from_secs(194)).await;
        assert_eq!(board.federation().outcome, Outcome::Unknown);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(board.federation().outcome, Outcome::Verified);
        tokio::time::sleep(Duration::from_secs(310)).await;
        assert_eq!(times.seen(), [0, 5, 15, 35, 75, 135, 195, 495]);
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_users_failed_request_is_looked_into_at_once_but_a_storm_of_them_is_not() {
        let watch = watch();
        let stop = watch.stop.clone();
        let times = Times::start();
        let ask = {
            let times = times.clone();
            move || {
                times.note();
                async { (Ok(()), None) }
            }
        };
        let trigger = ProbeTrigger::default();
        let task = tokio::spawn(watch.watch_federation(ask, trigger.clone()));
        tokio::time::sleep(Duration::from_secs(100)).await;
        for _ in 0..1000 {
            trigger.wake();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_secs(50)).await;
        // The last of them waits for its gap, too.
        assert_eq!(times.seen(), [0, 100, 105, 110, 115]);
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_starting_server_is_looked_for_closely_and_quietly() {
        let watch = watch();
        let (board, metrics, stop) = (
            Arc::clone(&watch.board),
            Arc::clone(&watch.metrics),
            watch.stop.clone(),
        );
        let asked = Arc::new(Mutex::new(0));
        let ask = {
            let asked = Arc::clone(&asked);
            move || {
                *asked.lock().unwrap() += 1;
                async { Err(HandshakeError::Unreachable("connection refused".into())) }
            }
        };
        let task = tokio::spawn(watch.watch_handshake(ask));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(*asked.lock().unwrap() >= 38, "every quarter of a second");
        assert_eq!(board.handshake().reason, "ServerStarting");
        assert!(!metrics.encode().contains("behalf_handshake_probes_total{"));
        tokio::time::sleep(START_LIMIT).await;
        assert_eq!(board.handshake().outcome, Outcome::Failed);
        assert_eq!(board.handshake().reason, "ServerUnreachable");
        stop.cancel();
        task.await.unwrap();
    }
}
