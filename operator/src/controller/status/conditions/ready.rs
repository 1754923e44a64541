//! Computes the condition `Ready` from all other conditions.

use super::{Finding, Status};
use crate::controller::status::ConditionType;
use behalf_contract::Reason;

/// `Ready`, and whether everything is seen to work at this very moment.
pub(in crate::controller::status) struct Summary {
    pub(in crate::controller::status) finding: Finding,
    pub(in crate::controller::status) all_true: bool,
}

/// Sums up. `seen_before`: at this generation everything was seen to work once; from then on only what is
/// seen to fail takes `Ready` away, not what cannot be seen.
pub(in crate::controller::status) fn summarize(
    parts: &[(ConditionType, &Finding)],
    seen_before: bool,
) -> Summary {
    let with = |status| parts.iter().filter(move |(_, finding)| finding.status == status);
    let all_true = parts.iter().all(|(_, finding)| finding.status == Status::True);
    let explain = |(kind, finding): &(ConditionType, &Finding)| {
        format!(
            "{} is {}: {}",
            kind.as_str(),
            finding.status.as_str(),
            finding.message
        )
    };
    let finding = if let Some(failing) = with(Status::False).next() {
        Finding::new(Status::False, failing.1.reason, explain(failing))
    } else if all_true {
        Finding::new(
            Status::True,
            Reason::Ready,
            "federation, MCP handshake and Pods are verified",
        )
    } else {
        let unseen = with(Status::Unknown).map(explain).collect::<Vec<_>>().join("; ");
        if seen_before {
            Finding::new(
                Status::True,
                Reason::Ready,
                format!("federation, MCP handshake and Pods were verified at this generation; now {unseen}"),
            )
        } else {
            Finding::new(Status::Unknown, Reason::Verifying, unseen)
        }
    };
    Summary { finding, all_true }
}
