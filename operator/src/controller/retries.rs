use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// How long to wait after a failed pass: twice as long each time, for each object on its own.
#[derive(Debug, Default)]
pub(super) struct Retries(Mutex<HashMap<String, u32>>);

impl Retries {
    /// After one more failure.
    pub(super) fn next(&self, uid: &str) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = failures.entry(uid.to_owned()).or_insert(0);
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(*failures)).min(LONGEST);
        *failures = failures.saturating_add(1);
        wait
    }

    /// After a success.
    pub(super) fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_a_minute_for_each_object_and_starts_again_after_success() {
        let retries = Retries::default();
        let waits: Vec<u64> = (0..8).map(|_| retries.next("a").as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(retries.next("b").as_secs(), 1);
        retries.forget("a");
        assert_eq!(retries.next("a").as_secs(), 1);
    }
}
