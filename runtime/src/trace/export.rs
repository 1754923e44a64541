//! Sends finished spans to the collector in batches.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::queue::DropReason;
use super::tracer::Tracer;

/// Maximum number of spans in one request. It is the default of the OpenTelemetry SDKs.
const BATCH: usize = 512;

/// Time between two requests. A program sends at most [`BATCH`] spans in it, so that no client can flood the collector.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time for all spans that wait when the program stops.
const FLUSH: Duration = Duration::from_millis(500);

impl Tracer {
    /// Exports spans until `stop` is cancelled, then those that wait, for at most [`FLUSH`]. Cancel `stop` after the last
    /// request has ended.
    pub async fn export(self, stop: CancellationToken) {
        let work = async {
            let mut is_away = false;
            loop {
                if stop.run_until_cancelled(self.0.queue.filled()).await.is_some() {
                    // More spans arrive meanwhile, and one request carries them all.
                    stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await;
                }
                if !self.send_batch(&mut is_away).await && stop.is_cancelled() {
                    break;
                }
            }
        };
        let deadline = async {
            stop.cancelled().await;
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            () = work => {}
            // The process ends, and the collector misses the spans that still wait.
            () = deadline => {}
        }
    }

    /// Sends the oldest spans. Returns false if none wait. Spans that the collector does not accept are dropped.
    async fn send_batch(&self, is_away: &mut bool) -> bool {
        let spans = self.0.queue.take(BATCH);
        let count = spans.len();
        if count == 0 {
            return false;
        }
        let collector = &self.0.collector;
        let result = collector.send(spans).await;
        let rejected = *result.as_ref().unwrap_or(&count);
        if rejected > 0 {
            (self.0.sources.dropped)(DropReason::NotAccepted, rejected.min(count));
        }
        collector.log_change(&result, is_away);
        true
    }
}
