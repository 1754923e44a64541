//! What the operator can see of all Pods.
//!
//! One Pod that does not answer is a fact about that Pod. When most of them stop answering at once, the fact
//! is about the operator (its node, its network, a policy), and writing it into every object would be a lie.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use behalf_contract::StatusDocument;

use super::dereference::StatusError;
use super::found::Unread;

/// So many failures in a row count as being unreachable; one may be a restart or a lost packet.
pub const UNREACHABLE_AFTER: u32 = 3;

/// With fewer Pods than this, "most" means nothing.
const FEWEST: usize = 4;

/// Failures in a row of each ready Pod.
#[derive(Debug, Default)]
pub struct Sight {
    failures: Mutex<HashMap<String, u32>>,
}

impl Sight {
    /// Notes an answer, or that there was none. Pods that the kubelet does not call ready are not counted.
    pub fn note(
        &self,
        pod: &str,
        ready: bool,
        answer: Result<StatusDocument, StatusError>,
    ) -> Result<StatusDocument, Unread> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(document) => {
                if ready {
                    failures.insert(pod.to_owned(), 0);
                } else {
                    failures.remove(pod);
                }
                Ok(document)
            }
            Err(error) => {
                let count = if ready {
                    let count = failures.entry(pod.to_owned()).or_insert(0);
                    *count = count.saturating_add(1);
                    *count
                } else {
                    failures.remove(pod);
                    0
                };
                Err(Unread {
                    failures: count,
                    error: error.to_string(),
                })
            }
        }
    }

    /// Forgets Pods that are gone.
    pub fn keep_only(&self, exists: impl Fn(&str) -> bool) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|pod, _| exists(pod));
    }

    /// Whether most Pods are unreachable.
    pub fn is_lost(&self) -> bool {
        let (unreachable, all) = self.counts();
        all >= FEWEST && unreachable * 2 > all
    }

    /// Ready Pods that are unreachable, and all ready Pods.
    pub fn counts(&self) -> (usize, usize) {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        (
            failures
                .values()
                .filter(|&&count| count >= UNREACHABLE_AFTER)
                .count(),
            failures.len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(sight: &Sight, pod: &str, times: u32) {
        for _ in 0..times {
            sight.note(pod, true, Err(StatusError::Unreachable)).unwrap_err();
        }
    }

    #[test]
    fn one_silent_pod_of_many_is_a_fact_about_the_pod() {
        let sight = Sight::default();
        for pod in ["a", "b", "c", "d"] {
            silent(&sight, pod, 1);
        }
        silent(&sight, "a", UNREACHABLE_AFTER);
        assert_eq!(sight.counts(), (1, 4));
        assert!(!sight.is_lost());
    }

    #[test]
    fn most_pods_silent_is_a_fact_about_the_operator() {
        let sight = Sight::default();
        for pod in ["a", "b", "c"] {
            silent(&sight, pod, UNREACHABLE_AFTER);
        }
        assert!(!sight.is_lost(), "three Pods are too few to tell");
        silent(&sight, "d", 1);
        assert!(sight.is_lost());
        sight.keep_only(|pod| pod == "d");
        assert!(!sight.is_lost());
    }

    #[test]
    fn a_pod_that_is_not_ready_does_not_count() {
        let sight = Sight::default();
        let unread = sight.note("a", false, Err(StatusError::Unreachable)).unwrap_err();
        assert_eq!(unread.failures, 0);
        assert_eq!(sight.counts(), (0, 0));
    }
}
