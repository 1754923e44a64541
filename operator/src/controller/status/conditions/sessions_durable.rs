//! Computes `SessionsDurable`: whether sessions survive a restart.

use behalf_contract::{Reason, StoreConfig};

use super::{Finding, Status};

/// Computes the condition for a session store. `None` if the object is refused.
pub(in crate::controller::status) fn judge(store: Option<&StoreConfig>) -> Finding {
    match store {
        Some(StoreConfig::Redis(_)) => Finding::new(
            Status::Unknown,
            Reason::NotObserved,
            "no Pod has reported yet whether the Redis keeps every session",
        ),
        Some(StoreConfig::Memory) | None => Finding::new(
            Status::False,
            Reason::MemoryStore,
            "sessions are kept in the memory of one Pod: a restart or an update ends all of them, and users sign in again",
        ),
    }
}
