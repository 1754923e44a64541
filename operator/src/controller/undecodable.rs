//! Remembers which objects that cannot be decoded have their error in their status.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The generation and the message that were written last, by the UID of the object.
#[derive(Debug, Default)]
pub struct Undecodable(Mutex<HashMap<String, (i64, String)>>);

impl Undecodable {
    /// Remembers what was written into the status of an object.
    pub(super) fn remember(&self, uid: &str, generation: i64, message: String) {
        self.lock().insert(uid.to_owned(), (generation, message));
    }

    /// Returns whether the status already has this message for this generation.
    pub(super) fn is_reported(&self, uid: &str, generation: i64, message: &str) -> bool {
        self.lock()
            .get(uid)
            .is_some_and(|(at, text)| *at == generation && text == message)
    }

    /// Removes the entry of an object that can be decoded: its status is written again.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Removes the entries of objects that no longer exist.
    pub fn keep_only(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|uid, _| exists(uid));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (i64, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_for_its_generation_and_message_until_the_object_is_decoded_or_deleted() {
        let undecodable = Undecodable::default();
        for uid in ["a", "b", "c"] {
            undecodable.remember(uid, 1, "unknown variant".to_owned());
        }
        assert!(undecodable.is_reported("a", 1, "unknown variant"));
        assert!(!undecodable.is_reported("a", 2, "unknown variant"));
        assert!(!undecodable.is_reported("a", 1, "missing field"));
        undecodable.forget("b");
        assert!(!undecodable.is_reported("b", 1, "unknown variant"));
        undecodable.keep_only(|uid| uid == "a");
        assert!(!undecodable.is_reported("c", 1, "unknown variant"));
        assert!(undecodable.is_reported("a", 1, "unknown variant"));
    }
}
