//! Limits of the duration of a test, and of the work after which it restores what it broke.

use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use behalf_runtime::error_chain;
use futures::FutureExt as _;

/// The result of a test, or of a part of it.
pub type TestResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Maximum duration of the work before the restore. It ends work that hangs, also on a slow machine, and is below the limit
/// of a whole test, so that time is left to restore.
pub const LIMIT: Duration = Duration::from_mins(12);

/// Runs `work`, then `restore`, also when `work` fails, panics or does not end in time. The future is boxed
/// because that of a whole test is large.
pub fn restoring<'f, T: 'f>(
    work: impl Future<Output = TestResult<T>> + 'f,
    restore: impl Future<Output = TestResult> + 'f,
) -> Pin<Box<dyn Future<Output = TestResult<T>> + 'f>> {
    restoring_within(LIMIT, work, restore)
}

/// As [`restoring`], with a limit of its own.
pub fn restoring_within<'f, T: 'f>(
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
        (Ok(_), Err(error)) => Err(format!("failed to restore: {}", error_chain(error.as_ref())).into()),
        (Err(first), Err(error)) => Err(format!(
            "{}; and failed to restore: {}",
            error_chain(first.as_ref()),
            error_chain(error.as_ref())
        )
        .into()),
    }
}

/// Runs a test in its own thread, and gives it up after `limit`. A limit inside a runtime would not fire while a test waits for a
/// program.
pub fn within_limit(
    limit: Duration,
    test: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Result<(), String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let result = test();
        // The receiver is dropped if the test took too long.
        drop(sender.send(result));
    });
    match receiver.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Disconnected) => Err("the test panicked".to_owned()),
        Err(RecvTimeoutError::Timeout) => Err(format!(
            "took over {} s; it keeps running beside the tests that follow",
            limit.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::mpsc::channel;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_mins(10);

    /// Runs work with a limit. Returns its error, and whether it was restored.
    async fn restored(limit: Duration, work: impl Future<Output = TestResult>) -> (Option<String>, bool) {
        let restored = Cell::new(false);
        let restore = async {
            restored.set(true);
            Ok(())
        };
        let result = restoring_within(limit, work, restore).await;
        (result.err().map(|error| error.to_string()), restored.get())
    }

    #[tokio::test]
    async fn work_that_hangs_ends_at_its_limit_and_is_restored() {
        let seen = restored(SHORT, std::future::pending()).await;
        assert_eq!(seen, (Some("took over 0 s".to_owned()), true));
    }

    #[tokio::test]
    async fn work_that_fails_or_panics_is_restored() {
        let failed = restored(LONG, async { Err("broken".into()) }).await;
        assert_eq!(failed, (Some("broken".to_owned()), true));
        let panicked = restored(LONG, async { panic!("on purpose") }).await;
        assert_eq!(panicked, (Some("the test panicked".to_owned()), true));
        assert_eq!(restored(LONG, async { Ok(()) }).await, (None, true));
    }

    #[tokio::test]
    async fn the_error_of_a_restore_is_added_to_that_of_the_work() {
        let result = restoring_within(SHORT, std::future::pending::<TestResult>(), async {
            Err("still broken".into())
        });
        assert_eq!(
            result.await.unwrap_err().to_string(),
            "took over 0 s; and failed to restore: still broken"
        );
    }

    #[test]
    fn a_test_that_waits_without_a_runtime_is_given_up_at_its_limit() {
        let (end, ended) = channel::<()>();
        let given_up = within_limit(SHORT, move || {
            let _ = ended.recv();
            Ok(())
        });
        assert_eq!(
            given_up,
            Err("took over 0 s; it keeps running beside the tests that follow".to_owned())
        );
        drop(end);
    }

    #[test]
    fn a_test_that_ends_has_its_own_result() {
        assert_eq!(within_limit(LONG, || Ok(())), Ok(()));
        assert_eq!(
            within_limit(LONG, || Err("broken".to_owned())),
            Err("broken".to_owned())
        );
        assert_eq!(
            within_limit(LONG, || panic!("on purpose")),
            Err("the test panicked".to_owned())
        );
    }
}
