//! Pauses requests to Entra after it failed or limited their rate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::error::EntraError;

/// Shortest pause after a failure. Every user of a Pod may be waiting, so a shorter pause would turn an
/// outage into a storm of requests.
const SHORTEST: Duration = Duration::from_secs(15);

/// Longest pause that Entra's `Retry-After` may demand. Calls without a valid token fail until it ends.
const LONGEST: Duration = Duration::from_mins(10);

/// Returns the pause after a failure: `Retry-After`, within bounds.
pub(crate) fn pause(asked: Option<Duration>) -> Duration {
    asked.unwrap_or_default().clamp(SHORTEST, LONGEST)
}

/// Returns the time from `now` until `moment`, or `None` when `moment` has passed.
pub(crate) fn left(now: Timestamp, moment: Timestamp) -> Option<Duration> {
    Duration::try_from(moment.duration_since(now))
        .ok()
        .filter(|left| !left.is_zero())
}

/// Returns the end of a pause that begins now.
pub(crate) fn end_of(pause: Duration, now: Timestamp) -> Timestamp {
    SignedDuration::try_from(pause)
        .ok()
        .and_then(|pause| now.checked_add(pause).ok())
        .unwrap_or(Timestamp::MAX)
}

/// The pause of all token requests of one client. Entra limits the rate of requests for each application, so
/// one answer 429 applies to every user of the process.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<Option<Pause>>);

struct Pause {
    until: Timestamp,
    cause: Arc<EntraError>,
}

impl Throttle {
    /// Records a failed request. Only a request that Entra throttled begins a pause.
    pub(crate) fn observe(&self, error: &EntraError, now: Timestamp) {
        if !matches!(error, EntraError::Throttled { .. }) {
            return;
        }
        let until = end_of(error.pause(), now);
        let mut pause = self.pause();
        if pause.as_ref().is_none_or(|pause| pause.until < until) {
            *pause = Some(Pause {
                until,
                cause: Arc::new(error.clone()),
            });
        }
    }

    /// Returns the error of a request that is not sent because Entra demanded a pause.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), EntraError> {
        let mut pause = self.pause();
        let Some(Pause { until, cause }) = &*pause else {
            return Ok(());
        };
        if let Some(after) = left(now, *until) {
            return Err(EntraError::Paused {
                after,
                cause: Arc::clone(cause),
            });
        }
        *pause = None;
        Ok(())
    }

    fn pause(&self) -> MutexGuard<'_, Option<Pause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn throttled(seconds: Option<u64>) -> EntraError {
        EntraError::Throttled {
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    fn after(seconds: i64) -> Timestamp {
        START + SignedDuration::from_secs(seconds)
    }

    #[rstest]
    #[case(None, 15)]
    #[case(Some(0), 15)]
    #[case(Some(40), 40)]
    #[case(Some(86_400), 600)]
    fn a_pause_is_what_entra_asked_for_within_bounds(#[case] asked: Option<u64>, #[case] seconds: u64) {
        assert_eq!(throttled(asked).pause(), Duration::from_secs(seconds));
    }

    #[test]
    fn nothing_is_asked_before_the_end_of_the_longest_pause() {
        let throttle = Throttle::default();
        assert!(throttle.check(START).is_ok());
        throttle.observe(&throttled(Some(40)), START);
        throttle.observe(&throttled(None), after(1));
        let refused = throttle.check(after(30)).unwrap_err();
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(10)));
        assert!(throttle.check(after(39)).is_err());
        assert!(throttle.check(after(40)).is_ok());
    }

    #[test]
    fn only_throttling_concerns_everybody() {
        let throttle = Throttle::default();
        throttle.observe(&EntraError::TimedOut, START);
        assert!(throttle.check(START).is_ok());
    }
}
