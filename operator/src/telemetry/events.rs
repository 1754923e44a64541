//! Publishes events: changes of conditions, and what happened to a keyring.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType, Recorder};

use crate::api::v1alpha1::conditions::{ConditionType, Status, find, is};
use crate::error_chain::chain;
use behalf_contract::{EventReason, Reason};

/// Maximum length of a note in bytes. The API server refuses notes of more than 1024 bytes.
const MAX_NOTE_LENGTH: usize = 1000;

/// The action of events about key rotations.
const ROTATE: &str = "RotateKeys";

/// A condition whose status or reason changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The type of the condition.
    pub kind: ConditionType,

    /// Its new status.
    pub status: String,

    /// Its new reason.
    pub reason: String,

    /// Its new message.
    pub message: String,
}

impl Transition {
    /// Returns the event that reports it. An event about something that nobody must act on is no warning.
    pub fn event(&self) -> Event {
        let quiet = [Reason::Suspended, Reason::Verifying, Reason::RolloutInProgress];
        let wanted = self.status == "True" || quiet.iter().any(|reason| reason.as_str() == self.reason);
        event(
            if wanted {
                EventType::Normal
            } else {
                EventType::Warning
            },
            self.reason.clone(),
            self.kind.as_str(),
            &self.message,
        )
    }
}

/// Returns the changes that an event reports: those of `Accepted` and `Ready`, and the refusal of a new object.
pub fn transitions(before: &[Condition], after: &[Condition]) -> Vec<Transition> {
    // A refusal also changes Ready; one event reports both.
    let refused = is(after, ConditionType::Accepted, Status::False);
    [ConditionType::Accepted, ConditionType::Ready]
        .into_iter()
        .filter(|&kind| kind == ConditionType::Accepted || !refused)
        .filter_map(|kind| {
            let now = find(after, kind)?;
            let changed = match find(before, kind) {
                // A failure with another reason is reported, too; a rollout and the checks after it are not, unless the checks end
                // without a result.
                Some(then) => {
                    let has = |condition: &Condition, reason: Reason| condition.reason == reason.as_str();
                    let is_check_of_rollout =
                        has(then, Reason::RolloutInProgress) && has(now, Reason::Verifying);
                    let has_no_result = now.status == "Unknown"
                        && has(then, Reason::Verifying)
                        && !has(now, Reason::Verifying);
                    (then.status != now.status && !is_check_of_rollout)
                        || has_no_result
                        || (now.status == "False"
                            && then.reason != now.reason
                            && !has(now, Reason::RolloutInProgress))
                }
                // A new object is accepted and not ready yet, which needs no event.
                None => kind == ConditionType::Accepted && now.status == "False",
            };
            changed.then(|| Transition {
                kind,
                status: now.status.clone(),
                reason: now.reason.clone(),
                message: now.message.clone(),
            })
        })
        .collect()
}

/// Returns the event of an object that this version cannot read. `message` names the cause and the fix.
pub fn undecodable(message: &str) -> Event {
    warning(Reason::Undecodable.as_str(), message)
}

/// Returns the event of a keyring that was made for an object that had another one before.
pub fn keyring_replaced(secret: &str) -> Event {
    warning(
        EventReason::KeyringReplaced.as_str(),
        &format!(
            "Secret {secret} was gone and a new keyring was made: every session has ended, users sign in again and \
             clients register again; find out who deleted it"
        ),
    )
}

/// Returns the event of a keyring without an owner that the object uses from now on.
pub fn keyring_adopted(secret: &str) -> Event {
    warning(
        EventReason::KeyringAdopted.as_str(),
        &format!(
            "Secret {secret} has no owner, as after a restore from a backup, and its keys are used from now on; if nobody \
             restored it, find out who created it and delete it: the operator then makes a new keyring"
        ),
    )
}

/// Returns the event of a step of a key rotation.
pub fn rotation_step(reason: EventReason, note: &str) -> Event {
    event(EventType::Normal, reason.as_str().to_owned(), ROTATE, note)
}

/// Returns the event of a step of a key rotation that could not be written.
pub fn failed_rotation(secret: &str, error: &str) -> Event {
    warning(
        EventReason::KeyRotationFailed.as_str(),
        &format!(
            "Secret {secret} cannot be changed, so that its keys do not rotate ({error}); if it is immutable or lacks the labels \
             of the operator, correct that; if the operator lacks the right to update it, upgrade the chart"
        ),
    )
}

/// Returns an event about what the object needs before its children are made.
fn warning(reason: &str, note: &str) -> Event {
    event(
        EventType::Warning,
        reason.to_owned(),
        ConditionType::Accepted.as_str(),
        note,
    )
}

fn event(type_: EventType, reason: String, action: &str, note: &str) -> Event {
    let end = (0..=MAX_NOTE_LENGTH.min(note.len()))
        .rev()
        .find(|&end| note.is_char_boundary(end))
        .unwrap_or(0);
    let note = note.get(..end).unwrap_or_default().to_owned();
    Event {
        type_,
        reason,
        note: Some(note),
        action: action.to_owned(),
        secondary: None,
    }
}

/// Publishes an event. A lost event does not fail the reconcile: the conditions contain the same facts.
pub async fn publish(recorder: &Recorder, object: &ObjectReference, event: &Event) {
    if let Err(error) = recorder.publish(event, object).await {
        tracing::warn!(
            error = %chain(&error),
            event.reason = event.reason,
            "Unable to publish the event {}; the conditions contain the same facts",
            event.reason
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(kind: &str, status: &str) -> Condition {
        serde_json::from_value(json!({
            "type": kind, "status": status, "reason": "R", "message": "m".repeat(5000),
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    fn kinds(before: &[Condition], after: &[Condition]) -> Vec<(&'static str, String)> {
        transitions(before, after)
            .into_iter()
            .map(|found| (found.kind.as_str(), found.status))
            .collect()
    }

    #[test]
    fn each_transition_is_reported_once() {
        let ready = [condition("Accepted", "True"), condition("Ready", "True")];
        let broken = [condition("Accepted", "True"), condition("Ready", "False")];
        assert_eq!(kinds(&ready, &broken), [("Ready", "False".to_owned())]);
        assert_eq!(kinds(&broken, &ready), [("Ready", "True".to_owned())]);
        assert_eq!(kinds(&ready, &ready), []);
    }

    #[test]
    fn a_new_object_has_an_event_only_if_it_is_refused() {
        assert_eq!(
            kinds(&[], &[condition("Accepted", "True"), condition("Ready", "False")]),
            []
        );
        let refused = [condition("Accepted", "False"), condition("Ready", "False")];
        assert_eq!(kinds(&[], &refused), [("Accepted", "False".to_owned())]);
    }

    #[test]
    fn a_refusal_that_also_changes_ready_is_reported_once() {
        let before = [condition("Accepted", "True"), condition("Ready", "True")];
        let after = [condition("Accepted", "False"), condition("Ready", "False")];
        assert_eq!(kinds(&before, &after), [("Accepted", "False".to_owned())]);
    }

    #[test]
    fn a_failure_with_another_reason_has_an_event_and_a_rollout_with_its_checks_has_none() {
        let with_reason = |reason: &str| Condition {
            reason: reason.to_owned(),
            ..condition("Ready", "False")
        };
        let (rollout, image) = (with_reason("RolloutInProgress"), with_reason("ImagePullFailed"));
        assert_eq!(
            kinds(std::slice::from_ref(&rollout), std::slice::from_ref(&image)).len(),
            1
        );
        assert_eq!(kinds(&[image], std::slice::from_ref(&rollout)).len(), 0);
        let verifying = Condition {
            status: "Unknown".to_owned(),
            ..with_reason("Verifying")
        };
        assert_eq!(kinds(&[rollout], std::slice::from_ref(&verifying)).len(), 0);
        let ready = [condition("Ready", "True")];
        assert_eq!(kinds(std::slice::from_ref(&verifying), &ready).len(), 1);
        // Nothing was in progress.
        assert_eq!(kinds(&ready, std::slice::from_ref(&verifying)).len(), 1);
        let unreachable = Condition {
            status: "Unknown".to_owned(),
            ..with_reason("PodUnreachable")
        };
        assert_eq!(kinds(&[verifying], &[unreachable]).len(), 1);
    }

    #[test]
    fn a_long_message_is_cut_to_the_maximum_length_of_a_note() {
        let event = transitions(&[condition("Ready", "True")], &[condition("Ready", "False")])[0].event();
        assert!(event.note.unwrap().len() <= 1024);
    }
}
