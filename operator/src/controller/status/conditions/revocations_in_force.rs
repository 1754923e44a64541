//! Computes `RevocationsInForce`: whether every Pod has loaded the declared revocations.

use behalf_contract::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::current_reports::StatusAndReason;
use super::{ConditionValue, Status, status_and_reason_of};
use crate::controller::dereference::cluster_state::ClusterState;
use crate::controller::revocations_outcome::{RevocationsOutcome, RevocationsProgress};

/// Computes the condition. `previous` is the condition of this generation. It stays while a Pod that becomes ready has not
/// reported yet.
pub(in crate::controller::status) fn condition(
    written: &RevocationsOutcome,
    suspended: bool,
    found: &ClusterState,
    previous: Option<&Condition>,
) -> ConditionValue {
    let unknown = |reason| StatusAndReason::new(Status::Unknown, reason);
    let result = match written {
        RevocationsOutcome::Failed { problem, .. } => {
            let text = format!("the Pods do not get spec.sessions.revocations as it is now: {problem}");
            return ConditionValue::new(Status::False, Reason::RevocationsNotWritten, text);
        }
        _ if suspended => unknown(Reason::Suspended),
        RevocationsOutcome::NoPods => unknown(Reason::NotObserved),
        RevocationsOutcome::Declared { digest } => match RevocationsProgress::of(digest, found) {
            RevocationsProgress::ByAll => StatusAndReason::new(Status::True, Reason::RevocationsLoaded),
            RevocationsProgress::Others { pods, of } => {
                let text = format!(
                    "{pods} of {of} Pods have not loaded spec.sessions.revocations as it is now; kubelets renew a mounted Secret \
                     about once a minute; if this lasts, read the log of container auth-sidecar"
                );
                return ConditionValue::new(Status::False, Reason::RevocationsPending, text);
            }
            RevocationsProgress::Unreachable(error) => StatusAndReason {
                unreachable: Some(error),
                ..unknown(Reason::PodUnreachable)
            },
            RevocationsProgress::Unseen => previous
                .and_then(status_and_reason_of)
                .filter(|(status, _)| *status == Status::True)
                .map_or_else(
                    || unknown(Reason::NotObserved),
                    |(status, reason)| StatusAndReason::new(status, reason),
                ),
        },
    };
    let text = match result.reason {
        Reason::RevocationsLoaded => {
            "every ready Pod has loaded spec.sessions.revocations as it is now".to_owned()
        }
        _ => result
            .common_text()
            .unwrap_or_else(|| "no Pod has reported its revocations yet".to_owned()),
    };
    result.with_text(text)
}
