//! The length of a pause after a failed request to Entra.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Shortest pause after a failure. Every user of a Pod may be waiting, so a shorter pause would turn an
/// outage into a storm of requests.
pub(crate) const MIN_PAUSE: Duration = Duration::from_secs(15);

/// Longest pause that Entra's `Retry-After` may demand. Calls without a valid token fail until it ends.
pub(crate) const MAX_PAUSE: Duration = Duration::from_mins(10);

/// Returns the pause after a failure: `Retry-After`, within bounds.
pub(crate) fn length(asked: Option<Duration>) -> Duration {
    asked.unwrap_or_default().clamp(MIN_PAUSE, MAX_PAUSE)
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
