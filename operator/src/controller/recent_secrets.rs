//! The Secrets that this process wrote or read within the last minute.
//!
//! The operator may not watch Secrets. Until the Pods report that they have loaded them, each reconcile would read them again, and
//! an object has a dozen of reconciles while its Pods start.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Time for which a Secret is taken to be as it was seen. If somebody deletes it, a Pod that starts waits for it at most this
/// long.
const RECENT: SignedDuration = SignedDuration::from_mins(1);

/// The Secrets of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// The keyring. It is known by the id of its sealing key.
    Keyring,

    /// The revocations. They are known by their digest.
    Revocations,
}

/// The content of each Secret and the time at which it was read, by the UID of the `McpServer`.
#[derive(Debug, Default)]
pub struct RecentSecrets(Mutex<HashMap<(String, SecretKind), (String, Timestamp)>>);

impl RecentSecrets {
    /// Remembers the content of a Secret.
    pub fn remember(&self, owner: &str, kind: SecretKind, content: &str, now: Timestamp) {
        self.lock()
            .insert((owner.to_owned(), kind), (content.to_owned(), now));
    }

    /// Returns whether the Secret had this content within the last minute.
    pub fn has_recent(&self, owner: &str, kind: SecretKind, content: &str, now: Timestamp) -> bool {
        self.lock()
            .get(&(owner.to_owned(), kind))
            .is_some_and(|(known, seen)| known == content && now.duration_since(*seen) < RECENT)
    }

    /// Removes the entries of objects that no longer exist.
    pub fn keep_only(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|(owner, _), _| exists(owner));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, SecretKind), (String, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::time;

    #[test]
    fn a_secret_is_known_for_a_minute_by_its_owner_kind_and_content() {
        let secrets = RecentSecrets::default();
        let has_recent = |owner: &str, kind, content: &str, seconds| {
            secrets.has_recent(owner, kind, content, time(seconds))
        };
        secrets.remember("a", SecretKind::Keyring, "s1", time(0));
        assert!(has_recent("a", SecretKind::Keyring, "s1", 59));
        assert!(!has_recent("a", SecretKind::Keyring, "s1", 60));
        assert!(!has_recent("a", SecretKind::Keyring, "s2", 1));
        assert!(!has_recent("a", SecretKind::Revocations, "s1", 1));
        assert!(!has_recent("b", SecretKind::Keyring, "s1", 1));
        secrets.keep_only(|owner| owner == "b");
        assert!(!has_recent("a", SecretKind::Keyring, "s1", 1));
    }
}
