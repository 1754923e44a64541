//! The end, in both orders.
//!
//! Usually the kubelet stops the MCP server first and a native sidecar after it. When the signal comes first,
//! the sidecar goes on serving for as long as the server does, and never past the grace period: calls that
//! the server is still finishing (it waits in `preStop`) come through here.

use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::Upstream;

/// Kept from the grace period for draining and the exit itself.
const RESERVE: Duration = Duration::from_secs(5);

/// How often the server is looked for.
const LOOK: Duration = Duration::from_millis(250);

/// How long the sidecar serves beside a server that does not end.
pub fn patience(grace_period_seconds: u32) -> Duration {
    let grace = Duration::from_secs(u64::from(grace_period_seconds));
    // Of a short period a half stays for draining.
    grace.saturating_sub(RESERVE).max(grace / 2)
}

/// How long open requests may go on once nothing new is taken.
pub fn drain_limit(grace_period_seconds: u32) -> Duration {
    let grace = Duration::from_secs(u64::from(grace_period_seconds));
    let left = grace.saturating_sub(patience(grace_period_seconds));
    left.saturating_sub(Duration::from_secs(1))
        .max(Duration::from_millis(500))
}

/// Returns when the server is gone, or `patience` is over.
pub async fn server_gone(upstream: &Upstream, patience: Duration) {
    let end = Instant::now() + patience;
    while upstream.listens().await {
        if Instant::now() >= end {
            tracing::warn!(
                "The MCP server is still there at the end of the grace period; stopping all the same"
            );
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_comes_before_the_grace_period_ends() {
        for grace in [1, 2, 5, 8, 10, 30, 60, 3600] {
            let whole = patience(grace) + drain_limit(grace);
            assert!(
                whole <= Duration::from_secs(u64::from(grace)),
                "{grace}: {whole:?}"
            );
        }
        assert_eq!(patience(60), Duration::from_secs(55));
        assert_eq!(drain_limit(60), Duration::from_secs(4));
        assert_eq!(patience(0), Duration::ZERO);
    }
}
