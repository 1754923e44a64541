//! Events: what `kubectl describe` shows of the past.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use kube::runtime::events::{Event, EventType, Recorder};

use crate::api::v1alpha1::McpServer;
use crate::controller::names;
use crate::controller::status::ConditionType;
use crate::controller::status::{Status, find, is};
use crate::error_chain::chain;
use behalf_contract::Reason;

/// The API server refuses notes of more than 1024 bytes.
const LONGEST_NOTE: usize = 1000;

/// A condition that got another status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Which.
    pub kind: ConditionType,

    /// Its new status.
    pub status: String,

    /// Its new reason.
    pub reason: String,

    /// Its new message.
    pub message: String,
}

impl Transition {
    /// The event.
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

/// What is worth an event: `Accepted` and `Ready` that changed, and what a new object starts with once it is
/// more than "not yet".
pub fn transitions(before: &[Condition], after: &[Condition]) -> Vec<Transition> {
    // A refusal also changes Ready; one event reports both.
    let refused = is(after, ConditionType::Accepted, Status::False);
    [ConditionType::Accepted, ConditionType::Ready]
        .into_iter()
        .filter(|&kind| kind == ConditionType::Accepted || !refused)
        .filter_map(|kind| {
            let now = find(after, kind)?;
            let changed = match find(before, kind) {
                // Another cause is news, too; that a rollout goes on is not.
                Some(then) => {
                    then.status != now.status
                        || (now.status == "False"
                            && then.reason != now.reason
                            && now.reason != Reason::RolloutInProgress.as_str())
                }
                // A fresh object is accepted and not ready; only a refusal is news.
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

/// An object that this version cannot read. `message` names the cause and the fix.
pub fn undecodable(message: &str) -> Event {
    event(
        EventType::Warning,
        Reason::Undecodable.as_str().to_owned(),
        ConditionType::Accepted.as_str(),
        message,
    )
}

/// A keyring was made for an object that had one before.
pub fn keyring_replaced(server: &McpServer) -> Option<Event> {
    server.status.as_ref()?.keys.as_ref()?;
    Some(event(
        EventType::Warning,
        "KeyringReplaced".to_owned(),
        "Accepted",
        &format!(
            "Secret {} was gone and a new keyring was made: every session has ended, users sign in again and \
             clients register again; find out who deleted it",
            names::keyring_secret(&server.name_any())
        ),
    ))
}

fn event(type_: EventType, reason: String, action: &str, note: &str) -> Event {
    let end = (0..=LONGEST_NOTE.min(note.len()))
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
        tracing::warn!(error = %chain(&error), event.reason = event.reason, "Event is lost");
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
    fn tells_each_transition_once() {
        let ready = [condition("Accepted", "True"), condition("Ready", "True")];
        let broken = [condition("Accepted", "True"), condition("Ready", "False")];
        assert_eq!(kinds(&ready, &broken), [("Ready", "False".to_owned())]);
        assert_eq!(kinds(&broken, &ready), [("Ready", "True".to_owned())]);
        assert_eq!(kinds(&ready, &ready), []);
    }

    #[test]
    fn a_fresh_object_is_news_only_when_it_is_refused() {
        assert_eq!(
            kinds(&[], &[condition("Accepted", "True"), condition("Ready", "False")]),
            []
        );
        let refused = [condition("Accepted", "False"), condition("Ready", "False")];
        assert_eq!(kinds(&[], &refused), [("Accepted", "False".to_owned())]);
    }

    #[test]
    fn a_refusal_is_told_once() {
        let before = [condition("Accepted", "True"), condition("Ready", "True")];
        let after = [condition("Accepted", "False"), condition("Ready", "False")];
        assert_eq!(kinds(&before, &after), [("Accepted", "False".to_owned())]);
    }

    #[test]
    fn another_cause_is_news_and_a_rollout_is_not() {
        let with_reason = |reason: &str| Condition {
            reason: reason.to_owned(),
            ..condition("Ready", "False")
        };
        let (rollout, image) = (with_reason("RolloutInProgress"), with_reason("ImagePullFailed"));
        assert_eq!(
            kinds(std::slice::from_ref(&rollout), std::slice::from_ref(&image)).len(),
            1
        );
        assert_eq!(kinds(&[image], &[rollout]).len(), 0);
    }

    #[test]
    fn only_a_keyring_that_was_there_before_was_replaced() {
        use crate::api::v1alpha1::{KeysStatus, McpServerStatus};
        let mut server = crate::testing::server(crate::testing::QUICKSTART);
        assert!(keyring_replaced(&server).is_none());
        server.status = Some(McpServerStatus::default());
        assert!(keyring_replaced(&server).is_none());
        server.status.as_mut().unwrap().keys = Some(KeysStatus {
            current: "s00000001".to_owned(),
        });
        let event = keyring_replaced(&server).unwrap();
        assert_eq!(event.reason, "KeyringReplaced");
        assert!(matches!(event.type_, EventType::Warning));
        assert!(event.note.unwrap().contains("azure-devops-keyring"));
    }

    #[test]
    fn notes_fit() {
        let event = transitions(&[condition("Ready", "True")], &[condition("Ready", "False")])[0].event();
        assert!(event.note.unwrap().len() <= 1024);
    }
}
