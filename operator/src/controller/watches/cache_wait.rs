//! Waits until a cache contains a write of this process.

use std::time::Duration;

/// Time between two looks at a cache.
const POLL: Duration = Duration::from_millis(10);

/// Waits until `is_cached` returns true, for at most `limit`. Returns whether it did.
pub async fn wait_until_cached(limit: Duration, is_cached: impl Fn() -> bool) -> bool {
    let cached = async {
        while !is_cached() {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(limit, cached).await.is_ok()
}
