//! A test that breaks something puts it back, however the test ends.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;

use crate::world::{TestResult, chain};

/// How long the broken part of a test may take. It is below the limit of a whole test, so that there is time left
/// to restore.
const LIMIT: Duration = Duration::from_mins(4);

/// Runs `work`, then `restore`, also when `work` fails, panics or does not end in time.
pub(crate) async fn restoring<T>(
    work: impl Future<Output = TestResult<T>>,
    restore: impl Future<Output = TestResult>,
) -> TestResult<T> {
    let worked = tokio::time::timeout(LIMIT, AssertUnwindSafe(work).catch_unwind()).await;
    let worked = match worked {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err("the test panicked".into()),
        Err(_) => Err(format!("took over {} s", LIMIT.as_secs()).into()),
    };
    match (worked, restore.await) {
        (worked, Ok(())) => worked,
        (Ok(_), Err(error)) => Err(format!("failed to restore: {}", chain(error.as_ref())).into()),
        (Err(first), Err(error)) => Err(format!(
            "{}; and failed to restore: {}",
            chain(first.as_ref()),
            chain(error.as_ref())
        )
        .into()),
    }
}
