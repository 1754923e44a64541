//! Computes the condition `Ready` from the conditions that it depends on.

use super::{ConditionType, ConditionValue, Status};
use behalf_contract::Reason;

/// `Ready`, and whether all conditions that it depends on are True now.
pub(in crate::controller::status) struct ReadySummary {
    pub(in crate::controller::status) value: ConditionValue,
    pub(in crate::controller::status) all_true: bool,
}

/// Computes `Ready`. With `seen_before`, all these conditions have been True at this generation. Then only a condition that
/// is False makes `Ready` False; one that is Unknown does not.
pub(in crate::controller::status) fn summarize(
    parts: &[(ConditionType, &ConditionValue)],
    seen_before: bool,
) -> ReadySummary {
    let with = |status| parts.iter().filter(move |(_, value)| value.status == status);
    let all_true = parts.iter().all(|(_, value)| value.status == Status::True);
    let explain = |(kind, value): &(ConditionType, &ConditionValue)| {
        format!(
            "{} is {}: {}",
            kind.as_str(),
            value.status.as_str(),
            value.message
        )
    };
    let value = if let Some(failing) = with(Status::False).next() {
        ConditionValue::new(Status::False, failing.1.reason, explain(failing))
    } else if all_true {
        ConditionValue::new(
            Status::True,
            Reason::Ready,
            "federation, MCP handshake and Pods are verified",
        )
    } else {
        let unseen = with(Status::Unknown).map(explain).collect::<Vec<_>>().join("; ");
        if seen_before {
            ConditionValue::new(
                Status::True,
                Reason::Ready,
                format!("federation, MCP handshake and Pods were verified at this generation; now {unseen}"),
            )
        } else {
            ConditionValue::new(Status::Unknown, Reason::Verifying, unseen)
        }
    };
    ReadySummary { value, all_true }
}
