//! Computes `SessionsDurable`: whether sessions survive a restart.

use behalf_contract::{Outcome, Reason, SessionsReport, StatusDocument, StoreConfig, StoreKind};

use super::observed::{Judged, Observed, Seen};
use super::{ConditionType, Finding, Status};

/// The only policy with which a Redis deletes no session when its memory is full.
const NO_EVICTION: &str = "noeviction";

/// Computes the condition. `store` is the store of the accepted spec, `None` if the object is refused.
pub(in crate::controller::status) fn judge(observed: &Observed<'_>, store: Option<&StoreConfig>) -> Finding {
    let is_damaged = |document: &&StatusDocument| document.keyring.unusable;
    let judged = match store {
        _ if observed.documents.iter().any(is_damaged) => Judged::new(Status::False, Reason::KeyringUnusable),
        Some(StoreConfig::Memory) => Judged::new(Status::False, Reason::MemoryStore),
        Some(StoreConfig::Redis(_)) | None => {
            let reports = observed.documents.iter().map(|document| seen(&document.sessions));
            observed.judge(ConditionType::SessionsDurable, Reason::SharedStore, reports)
        }
    };
    let message = text(&judged);
    judged.with_text(message)
}

fn seen(report: &SessionsReport) -> Seen<'static> {
    let policy = report.eviction_policy.as_deref();
    let (outcome, reason) = match (report.store, report.reachable, policy) {
        (StoreKind::Memory, ..) => (Outcome::Failed, Reason::MemoryStore),
        (StoreKind::Redis, Some(true), Some(NO_EVICTION)) => (Outcome::Verified, Reason::SharedStore),
        (StoreKind::Redis, Some(true), Some(_)) => (Outcome::Failed, Reason::EvictionPolicy),
        (StoreKind::Redis, Some(true), None) => (Outcome::Unknown, Reason::EvictionPolicyUnknown),
        (StoreKind::Redis, Some(false), _) => (Outcome::Unknown, Reason::StoreUnreachable),
        (StoreKind::Redis, None, _) => (Outcome::Unknown, Reason::NotObserved),
    };
    Seen {
        outcome,
        reason: reason.as_str(),
        conclusive: reason != Reason::NotObserved,
    }
}

fn text(judged: &Judged<'_>) -> String {
    match judged.reason {
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
        _ => judged.common_text().unwrap_or_else(|| {
            "this version of the operator does not know the reason that an earlier one wrote".to_owned()
        }),
    }
}
