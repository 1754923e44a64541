//! Stops the sidecar after the MCP server.
//!
//! The kubelet usually stops the MCP server first and a native sidecar after it. If the sidecar gets its signal
//! first, it serves until the server stops, at most for the grace period: the answers of calls in flight pass
//! through it while the server waits in `preStop`.
//!
//! The kubelet runs the `preStop` hooks of all containers at once, before it stops any of them. The hook of the sidecar is
//! `admin drain`: gateways keep connections to a Pod that stops, and would send calls over them until its server is gone.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::MAX_WAIT;
use crate::upstream::Upstream;

/// Part of the grace period for the exit of the process.
const EXIT: Duration = Duration::from_secs(1);

/// Part of the grace period for draining and for the exit of the process. Requests that wait for Redis get their answer in
/// it: they wait for at most [`MAX_WAIT`], and one second is left for the answer.
const RESERVE: Duration = MAX_WAIT
    .saturating_add(Duration::from_secs(1))
    .saturating_add(EXIT);

/// Time between two checks whether the server still listens.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Maximum time that the sidecar waits for the server to stop.
pub fn server_limit(grace_period_seconds: u32) -> Duration {
    let grace = Duration::from_secs(u64::from(grace_period_seconds));
    // Half of a short grace period is left for draining.
    grace.saturating_sub(RESERVE).max(grace / 2)
}

/// Maximum time for requests in flight after the sidecar stops accepting new ones.
pub fn drain_limit(grace_period_seconds: u32) -> Duration {
    let grace = Duration::from_secs(u64::from(grace_period_seconds));
    let left = grace.saturating_sub(server_limit(grace_period_seconds));
    left.saturating_sub(EXIT).max(Duration::from_millis(500))
}

/// Returns when the server has stopped, at the latest after `limit`.
pub async fn wait_for_server(upstream: &Upstream, limit: Duration) {
    let end = Instant::now() + limit;
    while upstream.listens().await {
        if Instant::now() >= end {
            tracing::warn!(
                "The MCP server still listens at the end of the grace period; the sidecar stops now"
            );
            return;
        }
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_and_draining_end_within_the_grace_period() {
        for grace in [1, 2, 5, 8, 10, 30, 60, 3600] {
            let whole = server_limit(grace) + drain_limit(grace);
            assert!(
                whole <= Duration::from_secs(u64::from(grace)),
                "{grace}: {whole:?}"
            );
        }
        assert_eq!(server_limit(60), Duration::from_secs(53));
        assert_eq!(server_limit(0), Duration::ZERO);
    }

    #[test]
    fn requests_that_wait_for_redis_get_their_answer_before_the_sidecar_stops() {
        for grace in [14, 30, 60, 3600] {
            assert!(drain_limit(grace) > MAX_WAIT, "{grace}: {:?}", drain_limit(grace));
        }
    }
}
