//! Computes when an object is reconciled again: after a success by its status, after a failure by the number of
//! consecutive failures.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use behalf_contract::Reason;
use behalf_runtime::spread;
use jiff::{SignedDuration, Timestamp};

use crate::api::v1alpha1::McpServerStatus;
use crate::api::v1alpha1::conditions::{ConditionType, Status, find, is};

/// Time between two reconciles of a settled object if no event occurs. They take the steps that only the time makes due, such as
/// those of a key rotation, and repair what the watches missed.
pub(super) const SETTLED: Duration = Duration::from_secs(30);

/// Time between two reconciles while something is missing. It is shorter because some conditions depend on the
/// time.
pub(super) const UNSETTLED: Duration = Duration::from_secs(15);

/// Time to the next reconcile if the object changed during a reconcile. The event of that change usually arrives
/// earlier.
pub(super) const STALE: Duration = Duration::from_secs(2);

const FIRST: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// Returns the time to the next reconcile of an object with this status.
pub(super) fn after_success(status: &McpServerStatus, random: u32) -> Duration {
    spread(if is_settled(status) { SETTLED } else { UNSETTLED }, random)
}

/// Returns whether only an edit of the object or an event can change its status.
fn is_settled(status: &McpServerStatus) -> bool {
    let unwritten = find(&status.conditions, ConditionType::RevocationsInForce)
        .is_some_and(|condition| condition.reason == Reason::RevocationsNotWritten.as_str());
    // The end of another object's rollout triggers no reconcile of this one.
    let waits_for_others = find(&status.conditions, ConditionType::UpdatePending).is_some();
    if unwritten || waits_for_others {
        return false;
    }
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
        .all(|kind| is(&status.conditions, kind, Status::True))
}

/// Number of consecutive failures after which a failure counts as lasting.
const LASTING_AFTER: u32 = 3;

/// Time since the first of these failures after which a failure counts as lasting. A short outage of the API
/// server must not turn every object to `InProgress`.
const LASTING_FOR: SignedDuration = SignedDuration::from_secs(30);

/// The consecutive failures of each object, by its UID.
#[derive(Debug, Default)]
pub struct Retries(Mutex<HashMap<String, Failures>>);

/// The consecutive failed reconciles of one object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failures {
    /// Number of failures.
    pub(super) count: u32,

    first: Timestamp,
    last: Timestamp,
}

impl Failures {
    /// Returns whether the failure is more than a short outage, so that the status reports it.
    pub(super) fn are_lasting(&self) -> bool {
        self.count >= LASTING_AFTER && self.last.duration_since(self.first) >= LASTING_FOR
    }
}

impl Retries {
    /// Counts a failure. Returns the consecutive failures, including this one.
    pub(super) fn failed(&self, uid: &str, now: Timestamp) -> Failures {
        let mut all = self.lock();
        let failures = all.entry(uid.to_owned()).or_insert(Failures {
            count: 0,
            first: now,
            last: now,
        });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        *failures
    }

    /// Returns the time to the next reconcile. It doubles after each failure.
    pub(super) fn wait(&self, uid: &str, random: u32) -> Duration {
        let failures = self.lock().get(uid).map_or(0, |failures| failures.count);
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        spread(doubled.min(MAX_PAUSE), random)
    }

    /// Resets the count after a success.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Removes the entries of objects that no longer exist.
    pub fn keep_only(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|uid, _| exists(uid));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::time;

    const MIDDLE: u32 = u32::MAX / 2;

    fn fail(retries: &Retries, uid: &str) -> u64 {
        retries.failed(uid, time(0));
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
        retries.failed("a", time(0));
        assert_ne!(retries.wait("a", 0), retries.wait("a", u32::MAX));
    }

    #[test]
    fn deleted_objects_are_forgotten() {
        let retries = Retries::default();
        for uid in ["a", "b"] {
            retries.failed(uid, time(0));
        }
        retries.keep_only(|uid| uid == "b");
        assert_eq!(retries.failed("a", time(0)).count, 1);
        assert_eq!(retries.failed("b", time(0)).count, 2);
    }

    #[test]
    fn a_failure_is_lasting_after_three_times_and_thirty_seconds() {
        let lasting = |times: &[i64]| {
            let retries = Retries::default();
            let all = times.iter().map(|&seconds| retries.failed("a", time(seconds)));
            all.last().unwrap().are_lasting()
        };
        assert!(!lasting(&[0, 40]), "two failures");
        assert!(!lasting(&[0, 1, 3, 7, 15, 29]), "29 seconds");
        assert!(lasting(&[0, 1, 30]));
        assert!(lasting(&[0, 1, 3, 7, 15, 31]));
    }

    #[test]
    fn a_failure_after_a_success_is_not_lasting() {
        let retries = Retries::default();
        for seconds in [0, 1, 2] {
            retries.failed("a", time(seconds));
        }
        retries.forget("a");
        assert!(!retries.failed("a", time(60)).are_lasting());
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
        let mut pending = stalled.clone();
        pending.type_ = "UpdatePending".to_owned();
        status.conditions.push(pending);
        assert!(!is_settled(&status), "the end of another rollout is no event");
        status.conditions.pop();
        stalled.type_ = "Stalled".to_owned();
        status.conditions.push(stalled);
        assert!(is_settled(&status), "an edit triggers a reconcile");
        let mut unwritten = status.conditions[0].clone();
        unwritten.type_ = "RevocationsInForce".to_owned();
        unwritten.reason = "RevocationsNotWritten".to_owned();
        status.conditions.push(unwritten);
        assert!(!is_settled(&status), "the operator tries to write them again");
    }
}
