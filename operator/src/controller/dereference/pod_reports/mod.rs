//! Caches the latest status document of each Pod.
//!
//! A separate task reads the status documents ([`poll`]). A reconcile uses the cached ones and waits for no
//! Pod.
//!
//! If one Pod does not answer, the cause is that Pod. If most Pods stop answering at once, the cause is on
//! the operator's side (its node, its network, a policy), and the objects' statuses must not blame the Pods.

pub mod poll;
mod status_document;

pub use status_document::{DocumentError, StatusReader};

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use behalf_contract::StatusDocument;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::{Resource as _, ResourceExt as _};

use crate::controller::children::keyring_of;
use crate::controller::names;
use crate::controller::pods::{PodReport, UNREACHABLE_AFTER, Unread, is_ready, is_running};
use crate::controller::watches::CachedKind;

/// Minimum number of ready Pods for a conclusion from most of them.
const MIN_READY_PODS: usize = 4;

/// The last report of each Pod, by the Pod's UID.
#[derive(Debug, Default)]
pub struct PodReports(Mutex<HashMap<String, PodEntry>>);

#[derive(Debug)]
struct PodEntry {
    document: Result<StatusDocument, Unread>,

    /// Whether the kubelet reported the Pod as ready when it was read. A Pod that is not ready counts neither
    /// as reachable nor as unreachable.
    ready: bool,
}

impl PodReports {
    /// Returns the reports of these Pods. A Pod that was not read yet has none.
    pub fn of(&self, pods: &[Arc<Pod>]) -> Vec<PodReport> {
        let known = self.lock();
        pods.iter()
            .filter(|pod| is_running(pod))
            .filter_map(|pod| {
                let known = known.get(&pod.uid()?)?;
                Some(PodReport {
                    template: pod.annotations().get(names::TEMPLATE_ANNOTATION).cloned(),
                    keyring: keyring_of(pod),
                    ready: is_ready(pod),
                    document: known.document.clone(),
                })
            })
            .collect()
    }

    /// Stores the answer of a Pod, or the failure to get one. Returns true if a reconcile would see a
    /// difference.
    pub(super) fn store(
        &self,
        pod: &str,
        ready: bool,
        answer: Result<StatusDocument, DocumentError>,
    ) -> bool {
        let mut known = self.lock();
        let before = known.remove(pod);
        let document = answer.map_err(|error| {
            // A Pod that is not ready may have a reason not to answer.
            let failures = match &before {
                _ if !ready => 0,
                Some(PodEntry {
                    document: Err(unread),
                    ready: true,
                }) => unread.failures.saturating_add(1),
                _ => 1,
            };
            Unread {
                failures,
                error: error.to_string(),
            }
        });
        let differs = match (before.map(|before| before.document), &document) {
            (Some(Ok(before)), Ok(now)) => before != *now,
            (Some(Err(before)), Err(now)) => {
                before.error != now.error
                    || (before.failures < UNREACHABLE_AFTER) != (now.failures < UNREACHABLE_AFTER)
            }
            _ => true,
        };
        known.insert(pod.to_owned(), PodEntry { document, ready });
        differs
    }

    /// Removes the reports of Pods that no longer exist.
    fn keep_only(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|pod, _| exists(pod));
    }

    /// Whether most Pods are unreachable.
    pub fn most_unreachable(&self) -> bool {
        let (unreachable, all) = self.counts();
        all >= MIN_READY_PODS && unreachable * 2 > all
    }

    /// Returns the number of ready Pods that are unreachable, and the number of all ready Pods.
    pub fn counts(&self) -> (usize, usize) {
        let known = self.lock();
        let unreachable = |known: &&PodEntry| {
            let failures = known.document.as_ref().err().map(|unread| unread.failures);
            failures.is_some_and(|failures| failures >= UNREACHABLE_AFTER)
        };
        let ready = || known.values().filter(|known| known.ready);
        (ready().filter(unreachable).count(), ready().count())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, PodEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates reports for a test.
    #[cfg(test)]
    pub(crate) fn holding(pod: &str, document: StatusDocument) -> Self {
        let reports = Self::default();
        reports.store(pod, true, Ok(document));
        reports
    }
}

/// Where a Pod serves its status document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Absent while it serves none.
    address: Option<IpAddr>,

    /// Whether the kubelet reports the Pod as ready.
    is_ready: bool,
}

impl Endpoint {
    /// Reads it from the status of a Pod.
    pub fn of(pod: &Pod) -> Self {
        let address = || pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok();
        Self {
            address: is_running(pod).then(address).flatten(),
            is_ready: is_ready(pod),
        }
    }
}

impl CachedKind for Pod {
    const IS_CHILD: bool = false;

    type Summary = Endpoint;

    fn summary(&self) -> Endpoint {
        Endpoint::of(self)
    }

    /// Removes `managedFields` and the spec but for the volumes. A reconcile reads the status of the containers only.
    fn trim(&mut self) {
        self.meta_mut().managed_fields = None;
        let volumes = self.spec.take().and_then(|spec| spec.volumes);
        self.spec = Some(PodSpec {
            volumes,
            ..PodSpec::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::document;

    fn silent(reports: &PodReports, pod: &str, times: u32) -> Vec<bool> {
        (0..times)
            .map(|_| reports.store(pod, true, Err(DocumentError::Unreachable)))
            .collect()
    }

    #[test]
    fn a_change_is_reported_once() {
        let reports = PodReports::default();
        assert!(reports.store("a", true, Ok(document("sha256:0"))));
        assert!(!reports.store("a", true, Ok(document("sha256:0"))));
        assert!(reports.store("a", true, Ok(document("sha256:1"))));
        assert_eq!(
            silent(&reports, "a", 5),
            [true, false, true, false, false],
            "the first failure, and the one that makes it unreachable"
        );
        assert!(reports.store("a", true, Ok(document("sha256:1"))));
    }

    #[test]
    fn one_silent_pod_of_many_is_a_fact_about_the_pod() {
        let reports = PodReports::default();
        for pod in ["a", "b", "c", "d"] {
            silent(&reports, pod, 1);
        }
        silent(&reports, "a", UNREACHABLE_AFTER);
        assert_eq!(reports.counts(), (1, 4));
        assert!(!reports.most_unreachable());
    }

    #[test]
    fn most_pods_silent_is_a_fact_about_the_operator() {
        let reports = PodReports::default();
        for pod in ["a", "b", "c"] {
            silent(&reports, pod, UNREACHABLE_AFTER);
        }
        assert!(!reports.most_unreachable(), "three Pods are too few to tell");
        silent(&reports, "d", 1);
        assert!(reports.most_unreachable());
        reports.keep_only(|pod| pod == "d");
        assert!(!reports.most_unreachable());
    }

    #[test]
    fn a_pod_that_is_not_ready_does_not_count() {
        let reports = PodReports::default();
        for _ in 0..5 {
            reports.store("a", false, Err(DocumentError::Unreachable));
        }
        assert_eq!(reports.counts(), (0, 0));
        silent(&reports, "a", UNREACHABLE_AFTER - 1);
        assert_eq!(reports.counts(), (0, 1), "it starts from one when it is ready");
    }
}
