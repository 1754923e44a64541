//! Counts the consecutive failed passes over each object and computes the wait before the next pass.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::controller::jitter::spread;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// Number of consecutive failures of each object, by its UID.
#[derive(Debug, Default)]
pub struct Retries(Mutex<HashMap<String, u32>>);

impl Retries {
    /// Counts a failure. Returns the number of consecutive failures, including this one.
    pub(super) fn failed(&self, uid: &str) -> u32 {
        let mut failures = self.lock();
        let failures = failures.entry(uid.to_owned()).or_insert(0);
        *failures = failures.saturating_add(1);
        *failures
    }

    /// Returns the time to the next pass. It doubles after each failure.
    pub(super) fn wait(&self, uid: &str, random: u32) -> Duration {
        let failures = self.lock().get(uid).copied().unwrap_or_default();
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        spread(doubled.min(LONGEST), random)
    }

    /// Resets the count after a success.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Removes the entries of objects that no longer exist.
    pub fn keep_only(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|uid, _| exists(uid));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: u32 = u32::MAX / 2;

    fn fail(retries: &Retries, uid: &str) -> u64 {
        retries.failed(uid);
        retries.wait(uid, MIDDLE).as_millis().try_into().unwrap()
    }

    #[test]
    fn doubles_to_a_minute_for_each_object_and_starts_again_after_success() {
        let retries = Retries::default();
        let waits: Vec<u64> = (0..8).map(|_| fail(&retries, "a").div_ceil(1000)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(fail(&retries, "b").div_ceil(1000), 1);
        retries.forget("a");
        assert_eq!(fail(&retries, "a").div_ceil(1000), 1);
    }

    #[test]
    fn two_objects_that_fail_together_are_not_tried_again_together() {
        let retries = Retries::default();
        retries.failed("a");
        assert_ne!(retries.wait("a", 0), retries.wait("a", u32::MAX));
    }

    #[test]
    fn deleted_objects_are_forgotten() {
        let retries = Retries::default();
        for uid in ["a", "b"] {
            retries.failed(uid);
        }
        retries.keep_only(|uid| uid == "b");
        assert_eq!(retries.failed("a"), 1);
        assert_eq!(retries.failed("b"), 2);
    }
}
