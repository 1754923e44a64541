//! A cache of one value that is fetched again when it is old: the discovery document, the signing keys.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::error::EntraError;
use crate::pause::left;

/// Time limits of a cached value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    /// Age up to which the value is used without a request.
    pub(crate) fresh: SignedDuration,

    /// Age up to which the value is used when the request for a new one fails.
    pub(crate) usable: SignedDuration,

    /// Minimum time between two attempts to replace a usable value.
    pub(crate) pause: SignedDuration,

    /// Minimum time between a failure and the next attempt while there is no usable value.
    pub(crate) pause_without_value: SignedDuration,
}

/// Whether a caller waits for the pauses of [`Lifetime`] before it causes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pauses {
    /// The caller may be anybody: it must not cause a storm of requests.
    Respected,

    /// The caller waits for no pause that others caused. Other limits bound it, as those of logins, or it has a token that Entra
    /// has just issued.
    Ignored,
}

/// A cached value. Callers that wait at the same time share one fetch and its result. Callers that ignore pauses share a
/// separate fetch, so that they do not get the failure of one that an invented token caused.
pub(crate) struct Cached<T> {
    what: &'static str,
    lifetime: Lifetime,
    state: Mutex<State<T>>,
    fetch_with_pauses: SharedFetch<T>,
    fetch_without_pauses: SharedFetch<T>,
}

/// A fetch that runs at most once at a time.
struct SharedFetch<T> {
    /// Result of the last fetch. Locked while one runs.
    last_result: tokio::sync::Mutex<Option<Result<Arc<T>, EntraError>>>,

    /// Number of fetches that have ended. A caller that waited for the lock sees by it whether one ended meanwhile.
    completed: AtomicU64,
}

impl<T> Default for SharedFetch<T> {
    fn default() -> Self {
        Self {
            last_result: tokio::sync::Mutex::new(None),
            completed: AtomicU64::new(0),
        }
    }
}

struct State<T> {
    entry: Option<Entry<T>>,
    forced_at: Option<Timestamp>,
    failure: Option<Failure>,
}

/// A failure after which there is no usable value.
struct Failure {
    cause: Arc<EntraError>,
    next_load: Timestamp,
}

struct Entry<T> {
    value: Arc<T>,
    loaded_at: Timestamp,
    next_load: Timestamp,
}

impl<T> Cached<T> {
    pub(crate) fn new(what: &'static str, lifetime: Lifetime) -> Self {
        Self {
            what,
            lifetime,
            state: Mutex::new(State {
                entry: None,
                forced_at: None,
                failure: None,
            }),
            fetch_with_pauses: SharedFetch::default(),
            fetch_without_pauses: SharedFetch::default(),
        }
    }

    /// Returns the cached value, or fetches it when it is old or not `satisfying`. With [`Pauses::Heeded`] there is at most one
    /// early fetch per `pause`, and none within `pause_without_value` after a failure; the returned value may then not
    /// satisfy.
    pub(crate) async fn get<F>(
        &self,
        now: Timestamp,
        pauses: Pauses,
        satisfying: impl Fn(&T) -> bool,
        load: impl FnOnce() -> F,
    ) -> Result<Arc<T>, EntraError>
    where
        F: Future<Output = Result<T, EntraError>>,
    {
        if let Some(value) = self.current(now, pauses, &satisfying) {
            return Ok(value);
        }
        self.check_pause(now, pauses)?;
        let fetch = match pauses {
            Pauses::Respected => &self.fetch_with_pauses,
            Pauses::Ignored => &self.fetch_without_pauses,
        };
        let completed = fetch.completed.load(Ordering::Acquire);
        let mut last = fetch.last_result.lock().await;
        if completed != fetch.completed.load(Ordering::Acquire)
            && let Some(result) = &*last
        {
            return result.clone();
        }
        if let Some(value) = self.current(now, pauses, &satisfying) {
            return Ok(value);
        }
        self.check_pause(now, pauses)?;
        let forced = self.is_fresh(now);
        let result = load().await.map(Arc::new);
        let result = self.store(now, forced, result);
        *last = Some(result.clone());
        fetch.completed.fetch_add(1, Ordering::Release);
        result
    }

    /// Makes the next call fetch the value again, after a failure that an old value may have caused.
    pub(crate) fn mark_stale(&self, now: Timestamp) {
        let mut state = self.state();
        if let Some(entry) = &mut state.entry {
            let earliest = after(entry.loaded_at, self.lifetime.pause).max(now);
            entry.next_load = entry.next_load.min(earliest);
        }
    }

    /// Returns the value if no request is needed.
    fn current(&self, now: Timestamp, pauses: Pauses, satisfying: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let state = self.state();
        let entry = state.entry.as_ref().filter(|entry| now < entry.next_load)?;
        let limited = pauses == Pauses::Respected
            && state
                .forced_at
                .is_some_and(|forced_at| now < after(forced_at, self.lifetime.pause));
        (satisfying(&entry.value) || limited).then(|| Arc::clone(&entry.value))
    }

    /// Returns the error of a caller that finds no usable value shortly after a failure.
    fn check_pause(&self, now: Timestamp, pauses: Pauses) -> Result<(), EntraError> {
        let state = self.state();
        let failure = state.failure.as_ref().filter(|_| pauses == Pauses::Respected);
        let Some(failure) = failure else {
            return Ok(());
        };
        match left(now, failure.next_load) {
            Some(after) => Err(EntraError::Paused {
                after,
                cause: Arc::clone(&failure.cause),
            }),
            None => Ok(()),
        }
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.state()
            .entry
            .as_ref()
            .is_some_and(|entry| now < entry.next_load)
    }

    /// Stores the fetched value. After a failure, returns the old value if it is still usable.
    fn store(
        &self,
        now: Timestamp,
        forced: bool,
        result: Result<Arc<T>, EntraError>,
    ) -> Result<Arc<T>, EntraError> {
        let mut state = self.state();
        if forced {
            state.forced_at = Some(now);
        }
        match result {
            Ok(value) => {
                state.failure = None;
                let next_load = after(now, self.lifetime.fresh);
                state.entry = Some(Entry {
                    value: Arc::clone(&value),
                    loaded_at: now,
                    next_load,
                });
                Ok(value)
            }
            Err(error) => {
                let usable = self.lifetime.usable;
                let entry = state.entry.as_mut();
                let Some(entry) = entry.filter(|entry| now < after(entry.loaded_at, usable)) else {
                    state.failure = Some(Failure {
                        cause: Arc::new(error.clone()),
                        next_load: after(now, self.lifetime.pause_without_value),
                    });
                    return Err(error);
                };
                // A slower request, which began before the value was loaded, says nothing about it.
                if !forced && entry.loaded_at <= now {
                    entry.next_load = after(now, self.lifetime.pause);
                }
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Unable to read Entra's {} again, going on with what is known: {error}",
                    self.what
                );
                Ok(Arc::clone(&entry.value))
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::FutureExt as _;

    use super::*;

    const LIFETIME: Lifetime = Lifetime {
        fresh: SignedDuration::from_hours(1),
        usable: SignedDuration::from_hours(24),
        pause: SignedDuration::from_secs(30),
        pause_without_value: SignedDuration::from_secs(15),
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    /// A cache whose source counts the requests and can fail.
    struct Bench {
        cached: Cached<u32>,
        asked: Cell<u32>,
        down: Cell<bool>,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                cached: Cached::new("test value", LIFETIME),
                asked: Cell::new(0),
                down: Cell::new(false),
            }
        }

        async fn get(&self, now: Timestamp, least: u32) -> Result<u32, EntraError> {
            self.get_with(Pauses::Respected, now, least).await
        }

        async fn get_with(&self, pauses: Pauses, now: Timestamp, least: u32) -> Result<u32, EntraError> {
            let load = || async {
                self.asked.set(self.asked.get() + 1);
                tokio::task::yield_now().await;
                if self.down.get() {
                    Err(EntraError::TimedOut)
                } else {
                    Ok(self.asked.get())
                }
            };
            self.cached
                .get(now, pauses, |value| *value >= least, load)
                .await
                .map(|value| *value)
        }
    }

    #[tokio::test]
    async fn a_fresh_value_is_not_fetched_again() {
        let bench = Bench::new();
        assert_eq!(bench.get(at(0), 0).await.unwrap(), 1);
        assert_eq!(bench.get(at(3_599), 0).await.unwrap(), 1);
        assert_eq!(bench.get(at(3_600), 0).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn parallel_callers_share_one_fetch() {
        let bench = Bench::new();
        let all = tokio::join!(bench.get(at(0), 0), bench.get(at(0), 0), bench.get(at(0), 0));
        assert_eq!((all.0.unwrap(), all.1.unwrap(), all.2.unwrap()), (1, 1, 1));
        assert_eq!(bench.asked.get(), 1);
    }

    #[tokio::test]
    async fn parallel_callers_share_one_failure_and_later_callers_wait_for_the_pause() {
        let bench = Bench::new();
        bench.down.set(true);
        let all = tokio::join!(bench.get(at(0), 0), bench.get(at(0), 0), bench.get(at(0), 0));
        assert!(all.0.is_err() && all.1.is_err() && all.2.is_err());
        assert_eq!(bench.asked.get(), 1);
        bench.down.set(false);
        let paused = bench.get(at(5), 0).await.unwrap_err();
        assert_eq!(paused.retry_after(), Some(std::time::Duration::from_secs(10)));
        assert_eq!(bench.asked.get(), 1);
        assert_eq!(bench.get(at(15), 0).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn the_old_value_is_used_during_an_outage_until_it_is_too_old() {
        let bench = Bench::new();
        bench.get(at(0), 0).await.unwrap();
        bench.down.set(true);
        assert_eq!(bench.get(at(3_600), 0).await.unwrap(), 1);
        assert_eq!(bench.get(at(3_629), 0).await.unwrap(), 1);
        assert_eq!(bench.asked.get(), 2, "not asked again within the pause");
        assert_eq!(bench.get(at(3_630), 0).await.unwrap(), 1);
        assert_eq!(bench.asked.get(), 3);
        for second in 0..15 {
            assert!(bench.get(at(24 * 3_600 + second), 0).await.is_err());
        }
        assert_eq!(
            bench.asked.get(),
            4,
            "a value that is too old has the same pause as none"
        );
    }

    #[tokio::test]
    async fn an_unsatisfying_value_is_fetched_again_at_most_once_in_a_pause() {
        let bench = Bench::new();
        bench.get(at(0), 0).await.unwrap();
        assert_eq!(bench.get(at(1), 99).await.unwrap(), 2);
        for second in 2..31 {
            assert_eq!(bench.get(at(second), 99).await.unwrap(), 2);
        }
        assert_eq!(bench.get(at(31), 99).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_failed_early_reload_keeps_the_value_and_counts_as_one() {
        let bench = Bench::new();
        bench.get(at(0), 0).await.unwrap();
        bench.down.set(true);
        assert_eq!(bench.get(at(1), 99).await.unwrap(), 1);
        assert_eq!(bench.get(at(2), 99).await.unwrap(), 1);
        assert_eq!(bench.asked.get(), 2);
    }

    #[tokio::test]
    async fn a_caller_that_ignores_pauses_waits_for_no_pause_of_others() {
        let bench = Bench::new();
        bench.down.set(true);
        bench.get(at(0), 0).await.unwrap_err();
        bench.down.set(false);
        bench.get(at(1), 0).await.unwrap_err();
        assert_eq!(bench.get_with(Pauses::Ignored, at(1), 0).await.unwrap(), 2);

        assert_eq!(bench.get(at(2), 99).await.unwrap(), 3, "an early request");
        assert_eq!(bench.get(at(3), 99).await.unwrap(), 3);
        assert_eq!(bench.get_with(Pauses::Ignored, at(3), 99).await.unwrap(), 4);
        assert_eq!(bench.get_with(Pauses::Ignored, at(3), 0).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_caller_that_ignores_pauses_waits_for_no_request_of_others() {
        let cached = Cached::new("test value", LIFETIME);
        let never = || std::future::pending::<Result<u32, EntraError>>();
        let mut hangs = Box::pin(cached.get(at(0), Pauses::Respected, |_| true, never));
        assert!(futures::poll!(&mut hangs).is_pending());
        let own = cached.get(at(0), Pauses::Ignored, |_| true, || async { Ok(7) });
        assert_eq!(*own.now_or_never().unwrap().unwrap(), 7);
        // The value is there for both.
        let other = cached.get(at(0), Pauses::Respected, |_| true, never);
        assert_eq!(*other.now_or_never().unwrap().unwrap(), 7);
    }

    #[tokio::test]
    async fn a_slow_failure_shortens_the_life_of_no_value_that_another_caller_loaded_since() {
        let cached = Cached::new("test value", LIFETIME);
        let (fail, failure) = futures::channel::oneshot::channel::<u32>();
        let slow = || async { failure.await.map_err(|_| EntraError::TimedOut) };
        let mut slow = Box::pin(cached.get(at(0), Pauses::Respected, |_| true, slow));
        assert!(futures::poll!(&mut slow).is_pending());
        let own = cached.get(at(5), Pauses::Ignored, |_| true, || async { Ok(7) });
        assert_eq!(*own.now_or_never().unwrap().unwrap(), 7);
        drop(fail);
        assert_eq!(*slow.now_or_never().unwrap().unwrap(), 7);
        let never = || std::future::pending::<Result<u32, EntraError>>();
        let later = cached.get(at(60), Pauses::Respected, |_| true, never);
        assert_eq!(*later.now_or_never().unwrap().unwrap(), 7);
    }

    #[tokio::test]
    async fn a_suspected_value_is_replaced_after_the_pause() {
        let bench = Bench::new();
        bench.get(at(0), 0).await.unwrap();
        bench.cached.mark_stale(at(1));
        assert_eq!(bench.get(at(29), 0).await.unwrap(), 1);
        assert_eq!(bench.get(at(30), 0).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_does_not_affect_the_next() {
        let bench = Bench::new();
        {
            let mut given_up = Box::pin(bench.get(at(0), 0));
            assert!(futures::poll!(&mut given_up).is_pending());
        }
        assert_eq!(bench.get(at(0), 0).await.unwrap(), 2);
    }
}
