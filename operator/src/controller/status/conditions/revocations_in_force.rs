//! Computes `RevocationsInForce`: whether every Pod has loaded the declared revocations.

use behalf_contract::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::observed::Judged;
use super::{Finding, Status, judgement};
use crate::controller::dereference::dereferenced::Found;
use crate::controller::revocations::{Loaded, Written};

/// Computes the condition. `previous` is the condition of this generation. It stays while a Pod that becomes ready has not
/// reported yet.
pub(in crate::controller::status) fn judge(
    written: &Written,
    suspended: bool,
    found: &Found,
    previous: Option<&Condition>,
) -> Finding {
    let unknown = |reason| Judged::new(Status::Unknown, reason);
    let judged = match written {
        Written::Failed { problem, .. } => {
            let text = format!("the Pods do not get spec.sessions.revocations as it is now: {problem}");
            return Finding::new(Status::False, Reason::RevocationsNotWritten, text);
        }
        _ if suspended => unknown(Reason::Suspended),
        Written::NoPods => unknown(Reason::NotObserved),
        Written::Declared { digest } => match Loaded::of(digest, found) {
            Loaded::ByAll => Judged::new(Status::True, Reason::RevocationsLoaded),
            Loaded::Others { pods, of } => {
                let text = format!(
                    "{pods} of {of} Pods have not loaded spec.sessions.revocations as it is now; kubelets renew a mounted Secret \
                     about once a minute; if this lasts, read the log of container auth-sidecar"
                );
                return Finding::new(Status::False, Reason::RevocationsPending, text);
            }
            Loaded::Unreachable(error) => Judged {
                unreachable: Some(error),
                ..unknown(Reason::PodUnreachable)
            },
            Loaded::Unseen => previous
                .and_then(judgement)
                .filter(|(status, _)| *status == Status::True)
                .map_or_else(
                    || unknown(Reason::NotObserved),
                    |(status, reason)| Judged::new(status, reason),
                ),
        },
    };
    let text = match judged.reason {
        Reason::RevocationsLoaded => {
            "every ready Pod has loaded spec.sessions.revocations as it is now".to_owned()
        }
        _ => judged
            .common_text()
            .unwrap_or_else(|| "no Pod has reported its revocations yet".to_owned()),
    };
    judged.with_text(text)
}
