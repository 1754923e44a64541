//! Computes the conditions of the status, one file for each.

pub(super) mod accepted;
pub(super) mod available;
pub(super) mod current_reports;
mod downstream_api;
pub(super) mod federation;
pub(super) mod ready;
pub(super) mod revocations_in_force;
pub(super) mod route_ready;
pub(super) mod sessions_durable;
pub(super) mod tenant_matches;
pub(super) mod user_sign_in;
pub(super) mod verified;

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::v1alpha1::conditions::{ConditionType, Status, find};
use behalf_contract::Reason;

/// The content of a condition without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConditionValue {
    /// The status.
    pub status: Status,

    /// The reason, one word for programs.
    pub reason: Reason,

    /// The message for users: the observation and the next step.
    pub message: String,
}

/// Maximum length of a message in bytes, within the limit of the schema.
const MAX_MESSAGE_LENGTH: usize = 4000;

impl ConditionValue {
    /// Creates a condition. A message that is too long for a condition is cut.
    pub(super) fn new(status: Status, reason: Reason, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if message.len() > MAX_MESSAGE_LENGTH {
            let end = (0..=MAX_MESSAGE_LENGTH)
                .rev()
                .find(|&index| message.is_char_boundary(index))
                .unwrap_or(0);
            message.truncate(end);
            message.push('…');
        }
        Self {
            status,
            reason,
            message,
        }
    }
}

/// Returns status and reason of an earlier condition, or `None` if this version of the operator does not know
/// the reason. The text is never reused: another writer may have changed it, and administrators run commands
/// from it.
pub(super) fn status_and_reason_of(condition: &Condition) -> Option<(Status, Reason)> {
    Some((
        Status::parse(&condition.status).unwrap_or(Status::Unknown),
        Reason::parse(&condition.reason)?,
    ))
}

/// Adds or replaces a condition. The time of its last transition stays if its status stays.
pub(super) fn set(
    conditions: &mut Vec<Condition>,
    previous: &[Condition],
    kind: ConditionType,
    value: &ConditionValue,
    generation: i64,
    now: Timestamp,
) {
    let before = find(previous, kind).filter(|before| before.status == value.status.as_str());
    conditions.retain(|condition| condition.type_ != kind.as_str());
    conditions.push(Condition {
        type_: kind.as_str().to_owned(),
        status: value.status.as_str().to_owned(),
        reason: value.reason.as_str().to_owned(),
        message: value.message.clone(),
        observed_generation: Some(generation),
        last_transition_time: before.map_or_else(
            || Time(whole_seconds(now)),
            |before| before.last_transition_time.clone(),
        ),
    });
    conditions.sort_by_key(|condition| {
        ConditionType::ALL
            .iter()
            .position(|kind| kind.as_str() == condition.type_)
    });
}

/// Rounds to whole seconds, as Kubernetes stores times. With a fraction, a status would differ from itself when read back.
fn whole_seconds(time: Timestamp) -> Timestamp {
    time.round(Unit::Second).unwrap_or(time)
}
