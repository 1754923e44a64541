//! Conditions of the status: compares, finds and sets them.

pub(super) mod accepted;
pub(super) mod available;
pub(super) mod federation;
pub(super) mod observed;
pub(super) mod ready;
pub(super) mod sessions_durable;
pub(super) mod user_sign_in;
pub(super) mod verified;

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use behalf_contract::Reason;

behalf_contract::wire_names! {
    /// A condition's type, in the order in which they are shown.
    pub enum ConditionType {
        /// Everything was seen to work at this generation, and nothing is seen to fail.
        Ready,
        /// The spec is valid and everything it names exists.
        Accepted,
        /// Enough Pods serve the current configuration.
        Available,
        /// Entra takes the Pods' token as the application.
        FederationVerified,
        /// The MCP server listed its tools.
        Verified,
        /// Users sign in, and their tokens are exchanged.
        UserSignIn,
        /// Sessions survive a restart.
        SessionsDurable,
        /// Work is going on; present only while true.
        Reconciling,
        /// This object must be edited; present only while true.
        Stalled,
    }
}

/// A condition's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was seen.
    True,
    /// The contrary was seen.
    False,
    /// Neither.
    Unknown,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

/// The content of a condition without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// True, False or Unknown.
    pub status: Status,

    /// One word for programs.
    pub reason: Reason,

    /// One sentence for people.
    pub message: String,
}

/// Maximum length of a message in bytes, within the limit of the schema.
const LONGEST_MESSAGE: usize = 4000;

impl Finding {
    /// A finding whose message fits into a condition.
    pub fn new(status: Status, reason: Reason, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if message.len() > LONGEST_MESSAGE {
            let end = (0..=LONGEST_MESSAGE)
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
pub(super) fn judgement(condition: &Condition) -> Option<(Status, Reason)> {
    Some((
        Status::parse(&condition.status),
        Reason::parse(&condition.reason)?,
    ))
}

/// The condition of a type.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == kind.as_str())
}

/// Whether a condition has a status.
pub fn is(conditions: &[Condition], kind: ConditionType, status: Status) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == status.as_str())
}

/// Adds a condition. The time of its last transition stays while its status does.
pub(super) fn set(
    conditions: &mut Vec<Condition>,
    previous: &[Condition],
    kind: ConditionType,
    finding: &Finding,
    generation: i64,
    now: Timestamp,
) {
    let before = find(previous, kind).filter(|before| before.status == finding.status.as_str());
    conditions.retain(|condition| condition.type_ != kind.as_str());
    conditions.push(Condition {
        type_: kind.as_str().to_owned(),
        status: finding.status.as_str().to_owned(),
        reason: finding.reason.as_str().to_owned(),
        message: finding.message.clone(),
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

/// Kubernetes keeps whole seconds; with a fraction, what is read back would differ from what was written.
fn whole_seconds(time: Timestamp) -> Timestamp {
    time.round(Unit::Second).unwrap_or(time)
}

/// Returns whether two lists contain the same conditions, in any order.
pub fn conditions_equal(left: &[Condition], right: &[Condition]) -> bool {
    left.len() == right.len() && left.iter().all(|condition| right.contains(condition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_type_is_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conditions.md");
        let text = std::fs::read_to_string(path).unwrap();
        for kind in ConditionType::ALL {
            let name = kind.as_str();
            assert!(
                text.contains(&format!("`{name}`")),
                "docs/conditions.md does not explain {name}"
            );
        }
    }
}
