//! Computes `SessionsDurable`: whether sessions survive a restart.

use behalf_contract::{Outcome, Reason, SessionsReport, StatusDocument, StoreConfig, StoreKind};

use super::current_reports::{CurrentReports, PodResult, StatusAndReason};
use super::{ConditionType, ConditionValue, Status};

/// The only policy with which a Redis deletes no session when its memory is full.
const NO_EVICTION: &str = "noeviction";

/// Computes the condition. `store` is the store of the accepted spec, `None` if the object is refused.
pub(in crate::controller::status) fn condition(
    current: &CurrentReports<'_>,
    store: Option<&StoreConfig>,
) -> ConditionValue {
    let is_damaged = |document: &&StatusDocument| document.keyring.unusable;
    let result = match store {
        _ if current.documents.iter().any(is_damaged) => {
            StatusAndReason::new(Status::False, Reason::KeyringUnusable)
        }
        Some(StoreConfig::Memory) => StatusAndReason::new(Status::False, Reason::MemoryStore),
        Some(StoreConfig::Redis(_)) | None => {
            let results = current
                .documents
                .iter()
                .map(|document| pod_result(&document.sessions));
            current.status_and_reason(ConditionType::SessionsDurable, Reason::SharedStore, results)
        }
    };
    let message = text(&result);
    result.with_text(message)
}

fn pod_result(report: &SessionsReport) -> PodResult<'static> {
    let policy = report.eviction_policy.as_deref();
    let (outcome, reason) = match (report.store, report.reachable, policy) {
        (StoreKind::Memory, ..) => (Outcome::Failed, Reason::MemoryStore),
        (StoreKind::Redis, Some(true), Some(NO_EVICTION)) => (Outcome::Verified, Reason::SharedStore),
        (StoreKind::Redis, Some(true), Some(_)) => (Outcome::Failed, Reason::EvictionPolicy),
        (StoreKind::Redis, Some(true), None) => (Outcome::Unknown, Reason::EvictionPolicyUnknown),
        (StoreKind::Redis, Some(false), _) => (Outcome::Unknown, Reason::StoreUnreachable),
        (StoreKind::Redis, None, _) => (Outcome::Unknown, Reason::NotObserved),
    };
    PodResult {
        outcome,
        reason: reason.as_str(),
        conclusive: reason != Reason::NotObserved,
    }
}

fn text(result: &StatusAndReason<'_>) -> String {
    match result.reason {
        Reason::KeyringUnusable => {
            "a Pod cannot use the keyring Secret: it goes on with the keys that it loaded before, and a Pod that starts now \
                                    fails; the log of its auth-sidecar says what is wrong with the Secret"
                .to_owned()
        }
        Reason::MemoryStore => {
            "sessions are kept in the memory of one Pod: a restart or an update ends all of them, and users \
                                sign in again; set spec.sessions.store.type to Redis to keep them"
                .to_owned()
        }
        Reason::SharedStore => {
            "sessions are kept in a Redis that deletes none of them: they survive restarts and updates"
                .to_owned()
        }
        Reason::EvictionPolicy => {
            "the Redis deletes sessions when its memory is full; set its maxmemory-policy to noeviction"
                .to_owned()
        }
        Reason::EvictionPolicyUnknown => {
            "the Redis does not tell its maxmemory-policy; allow its user the command INFO, or make sure \
                                          that the policy is noeviction"
                .to_owned()
        }
        Reason::StoreUnreachable => {
            "the Pods do not reach the Redis, so whether it keeps the sessions cannot be observed; see \
                                     docs/stores.md for what to check"
                .to_owned()
        }
        _ => result.common_text().unwrap_or_else(|| {
            "this version of the operator does not know the reason that an earlier one wrote".to_owned()
        }),
    }
}
