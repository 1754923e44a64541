//! Restores the broken part after a test, also if the test fails, panics or times out.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures::FutureExt as _;

use crate::world::TestResult;

/// Maximum duration of the work before the restore. It ends work that hangs, also on a slow machine, and is below the limit
/// of a whole test, so that time is left to restore.
pub(crate) const LIMIT: Duration = Duration::from_mins(12);

/// Runs `work`, then `restore`, also when `work` fails, panics or does not end in time. The future is boxed
/// because that of a whole test is large.
pub(crate) fn restoring<'f, T: 'f>(
    work: impl Future<Output = TestResult<T>> + 'f,
    restore: impl Future<Output = TestResult> + 'f,
) -> Pin<Box<dyn Future<Output = TestResult<T>> + 'f>> {
    restoring_within(LIMIT, work, restore)
}

/// The same with another limit.
pub(crate) fn restoring_within<'f, T: 'f>(
    limit: Duration,
    work: impl Future<Output = TestResult<T>> + 'f,
    restore: impl Future<Output = TestResult> + 'f,
) -> Pin<Box<dyn Future<Output = TestResult<T>> + 'f>> {
    Box::pin(async move {
        let worked = tokio::time::timeout(limit, AssertUnwindSafe(work).catch_unwind()).await;
        let worked = match worked {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err("the test panicked".into()),
            Err(_) => Err(format!("took over {} s", limit.as_secs()).into()),
        };
        outcome(worked, restore.await)
    })
}

/// Combines the result of the work and the result of the restore.
fn outcome<T>(worked: TestResult<T>, restored: TestResult) -> TestResult<T> {
    match (worked, restored) {
        (worked, Ok(())) => worked,
        (Ok(_), Err(error)) => Err(format!(
            "failed to restore: {}",
            behalf_runtime::error_chain(error.as_ref())
        )
        .into()),
        (Err(first), Err(error)) => Err(format!(
            "{}; and failed to restore: {}",
            behalf_runtime::error_chain(first.as_ref()),
            behalf_runtime::error_chain(error.as_ref())
        )
        .into()),
    }
}
