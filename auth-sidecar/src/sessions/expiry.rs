//! When something that begins now expires.

use jiff::{SignedDuration, Timestamp};

/// Adds `duration` to `now`. The result is the largest timestamp when the sum is larger.
pub(super) fn later(now: Timestamp, duration: SignedDuration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}
