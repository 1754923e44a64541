//! The result of writing the revocations of an object, and how many of its Pods have loaded them.

use super::dereference::cluster_state::ClusterState;
use super::pods::{PodReport, UNREACHABLE_AFTER, is_ready, is_running};
use super::validate::Refusal;

/// The result of writing the revocations in one reconcile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevocationsOutcome {
    /// The Pods can read the declared revocations.
    Declared {
        /// The digest of the file.
        digest: String,
    },

    /// The object was never accepted, so no Pod reads revocations.
    NoPods,

    /// The Pods cannot read the declared revocations.
    Failed {
        /// Why, and the next step.
        problem: String,

        /// Set if there is no Secret that a new Pod could mount. Then the object is refused, as for every child that the
        /// cluster refuses: a rollout would end the Pods that run.
        refusal: Option<Refusal>,
    },
}

/// How many Pods have loaded the declared revocations, by their reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevocationsProgress<'a> {
    /// Every ready Pod, and every other Pod that reports, has the declared ones.
    ByAll,

    /// Pods have others.
    Others {
        /// The number of these Pods.
        pods: usize,

        /// The number of Pods that report.
        of: usize,
    },

    /// A ready Pod could not be read several times.
    Unreachable(&'a str),

    /// No Pod reports, or a ready Pod does not report yet.
    Unseen,
}

impl<'a> RevocationsProgress<'a> {
    /// Compares the reports of the Pods with the digest of the declared revocations.
    pub fn of(digest: &str, found: &'a ClusterState) -> Self {
        let digest_of = |report: &'a PodReport| report.document.as_ref().ok()?.revocations_digest.as_deref();
        let reported: Vec<&str> = found.reports.iter().filter_map(digest_of).collect();
        let others = reported.iter().filter(|reported| **reported != digest).count();
        if others > 0 {
            return Self::Others {
                pods: others,
                of: reported.len(),
            };
        }
        let ready = found
            .existing
            .pods
            .iter()
            .filter(|pod| is_running(pod) && is_ready(pod));
        let silent = ready.count()
            > found
                .reports
                .iter()
                .filter(|report| report.ready && digest_of(report).is_some())
                .count();
        if !reported.is_empty() && !silent {
            return Self::ByAll;
        }
        let unread = found
            .reports
            .iter()
            .filter(|report| report.ready && !found.most_pods_unreachable)
            .filter_map(|report| report.document.as_ref().err())
            .find(|unread| unread.failures >= UNREACHABLE_AFTER);
        unread.map_or(Self::Unseen, |unread| Self::Unreachable(&unread.error))
    }
}
