//! Writes of a status that wait for the next one.
//!
//! While an object becomes ready, its status changes several times within seconds: the Deployment has made its Pods, a Pod has
//! reported, the Pods are ready. Each write costs the API server as much as the create of a child. A change that shows only
//! progress therefore waits for the change after it (`docs/adr/0044`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use tokio::time::Instant;

use super::write::same;
use crate::api::v1alpha1::conditions::{ConditionType, Status, is};
use crate::api::v1alpha1::{McpServer, McpServerStatus};

/// Maximum time for which progress is not in the status. Most Pods become ready within seconds after they were made.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// The objects whose progress is not in their status yet, by their UID, each with the time at which it is written at the latest.
#[derive(Debug, Default)]
pub struct PostponedWrites(Mutex<HashMap<String, Instant>>);

impl PostponedWrites {
    /// Returns for how long the write of `status` waits, or `None` if it is due or changes nothing.
    pub(in crate::controller) fn wait(
        &self,
        server: &McpServer,
        status: &McpServerStatus,
        now: Instant,
    ) -> Option<Duration> {
        let uid = server.uid().unwrap_or_default();
        let mut postponed = self.lock();
        if !server
            .status
            .as_ref()
            .is_some_and(|before| shows_only_progress(before, status))
        {
            postponed.remove(&uid);
            return None;
        }
        let due = *postponed.entry(uid.clone()).or_insert(now + MAX_WAIT);
        let wait = due.saturating_duration_since(now);
        if wait.is_zero() {
            postponed.remove(&uid);
            return None;
        }
        Some(wait)
    }

    /// Removes the entries of objects that no longer exist.
    pub fn keep_only(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|uid, _| exists(uid));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether an object that is not ready yet differs from its written status only in the number of Pods, in what a Pod
/// reports of the server, and in conditions that become True.
fn shows_only_progress(before: &McpServerStatus, after: &McpServerStatus) -> bool {
    let rest = |status: &McpServerStatus| McpServerStatus {
        replicas: None,
        address: None,
        server_info: None,
        conditions: Vec::new(),
        ..status.clone()
    };
    let is_progress = |(before, after): (&Condition, &Condition)| {
        let keeps = before.status == after.status && before.reason == after.reason;
        let becomes_true = after.type_ != ConditionType::Ready.as_str()
            && before.status != after.status
            && after.status == Status::True.as_str();
        before.type_ == after.type_ && (keeps || becomes_true)
    };
    // Most objects are ready, and their statuses need not be copied to be compared.
    !is(&before.conditions, ConditionType::Ready, Status::True)
        && !same(before, after)
        && rest(before) == rest(after)
        && before.conditions.len() == after.conditions.len()
        && before.conditions.iter().zip(&after.conditions).all(is_progress)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{QUICKSTART, server};

    /// The status of an object whose Deployment was just made.
    fn made() -> Value {
        let condition = |kind: &str, status: &str, reason: &str| {
            json!({
                "type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        json!({
            "observedGeneration": 1,
            "replicas": 0,
            "conditions": [
                condition("Ready", "False", "RolloutInProgress"),
                condition("Accepted", "True", "Accepted"),
                condition("Available", "False", "RolloutInProgress"),
                condition("FederationVerified", "Unknown", "NotObserved"),
            ],
        })
    }

    fn object(status: Value) -> McpServer {
        let mut server = server(QUICKSTART);
        server.status = serde_json::from_value(status).unwrap();
        server
    }

    fn changed(change: impl Fn(&mut Value)) -> McpServerStatus {
        let mut status = made();
        change(&mut status);
        serde_json::from_value(status).unwrap()
    }

    fn set(status: &mut Value, condition: usize, to: &str, reason: &str) {
        status["conditions"][condition]["status"] = json!(to);
        status["conditions"][condition]["reason"] = json!(reason);
    }

    #[rstest]
    #[case::the_number_of_pods(|status: &mut Value| status["replicas"] = json!(1), true)]
    #[case::a_condition_that_becomes_true(|status: &mut Value| set(status, 3, "True", "TokenAccepted"), true)]
    #[case::another_text(|status: &mut Value| status["conditions"][2]["message"] = json!("1 of 2"), true)]
    #[case::a_failure(|status: &mut Value| set(status, 3, "False", "FicNotFound"), false)]
    #[case::another_reason(|status: &mut Value| set(status, 2, "False", "ImagePullFailed"), false)]
    #[case::another_reason_of_a_true_one(|status: &mut Value| set(status, 1, "True", "Other"), false)]
    #[case::ready(|status: &mut Value| set(status, 0, "True", "Ready"), false)]
    #[case::another_reason_not_to_be_ready(|status: &mut Value| set(status, 0, "Unknown", "Verifying"), false)]
    #[case::another_generation(|status: &mut Value| status["observedGeneration"] = json!(2), false)]
    #[case::an_answered_request(|status: &mut Value| status["lastHandledReconcileAt"] = json!("now"), false)]
    #[case::one_condition_fewer(|status: &mut Value| { status["conditions"].as_array_mut().unwrap().pop(); }, false)]
    #[tokio::test]
    async fn only_progress_waits(#[case] change: fn(&mut Value), #[case] waits: bool) {
        let wait = PostponedWrites::default().wait(&object(made()), &changed(change), Instant::now());
        assert_eq!(wait, waits.then_some(MAX_WAIT));
    }

    #[tokio::test]
    async fn the_first_status_and_changes_of_a_ready_object_do_not_wait() {
        let (postponed, now) = (PostponedWrites::default(), Instant::now());
        let one_pod = |status: &mut Value| status["replicas"] = json!(1);
        assert_eq!(postponed.wait(&object(Value::Null), &changed(one_pod), now), None);
        let ready = |status: &mut Value| set(status, 0, "True", "Ready");
        let mut before = made();
        ready(&mut before);
        let after = changed(|status| {
            ready(status);
            one_pod(status);
        });
        assert_eq!(postponed.wait(&object(before), &after, now), None);
    }

    #[tokio::test]
    async fn progress_is_written_after_a_while_also_if_it_goes_on() {
        let (postponed, start) = (PostponedWrites::default(), Instant::now());
        let wait = |pods: i32, milliseconds: u64| {
            let now = start + Duration::from_millis(milliseconds);
            postponed.wait(
                &object(made()),
                &changed(|status| status["replicas"] = json!(pods)),
                now,
            )
        };
        assert_eq!(wait(1, 0), Some(MAX_WAIT));
        assert_eq!(wait(2, 2_900), Some(Duration::from_millis(100)));
        assert_eq!(wait(3, 3_000), None);
        assert_eq!(wait(3, 4_000), Some(MAX_WAIT), "it begins again after a write");
        assert_eq!(wait(0, 5_000), None, "nothing differs any more");
        assert_eq!(wait(1, 6_900), Some(MAX_WAIT));
        postponed.keep_only(|_| false);
        assert_eq!(wait(1, 8_000), Some(MAX_WAIT));
    }
}
