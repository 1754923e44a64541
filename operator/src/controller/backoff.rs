//! Computes when an object is reconciled again: after a success by its status, after a failure by the number of
//! consecutive failures.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use behalf_contract::Reason;

use super::jitter::spread;
use super::status::{ConditionType, find};
use crate::api::v1alpha1::McpServerStatus;

/// Time between two reconciles of a settled object if no event occurs. The reconciles detect changes to objects
/// that are read but not watched: a referenced `ConfigMap` or `ServiceAccount`.
const SETTLED: Duration = Duration::from_secs(30);

/// Time between two reconciles while something is missing. It is shorter because some conditions depend on the
/// time.
const UNSETTLED: Duration = Duration::from_secs(15);

/// Time to the next reconcile if the object changed during a reconcile. The event of that change usually arrives
/// earlier.
pub(super) const STALE: Duration = Duration::from_secs(2);

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// Returns the time to the next reconcile of an object with this status.
pub(super) fn after_success(status: &McpServerStatus, random: u32) -> Duration {
    spread(if is_settled(status) { SETTLED } else { UNSETTLED }, random)
}

/// Returns whether only an edit of the object or an event can change its status.
fn is_settled(status: &McpServerStatus) -> bool {
    // An edit triggers a reconcile.
    let suspended = find(&status.conditions, ConditionType::Available)
        .is_some_and(|condition| condition.reason == Reason::Suspended.as_str());
    if suspended || find(&status.conditions, ConditionType::Stalled).is_some() {
        return true;
    }
    let required = [
        ConditionType::Accepted,
        ConditionType::Available,
        ConditionType::FederationVerified,
        ConditionType::Verified,
    ];
    required
        .into_iter()
        .all(|kind| find(&status.conditions, kind).is_some_and(|condition| condition.status == "True"))
}

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

    /// Returns the time to the next reconcile. It doubles after each failure.
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

    #[test]
    fn an_object_is_settled_when_all_conditions_are_true_or_it_must_be_edited() {
        let mut status = McpServerStatus::default();
        assert!(!is_settled(&status));
        for kind in ["Accepted", "Available", "FederationVerified", "Verified"] {
            let condition = serde_json::json!({
                "type": kind, "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            status.conditions.push(serde_json::from_value(condition).unwrap());
        }
        assert!(is_settled(&status), "SessionsDurable does not count");
        status.conditions[2].status = "Unknown".to_owned();
        assert!(!is_settled(&status));
        let mut stalled = status.conditions[0].clone();
        stalled.type_ = "Stalled".to_owned();
        status.conditions.push(stalled);
        assert!(is_settled(&status), "an edit triggers a reconcile");
    }
}
