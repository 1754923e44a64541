//! Watches that the API server refuses because the operator lacks a right, so that an object can say so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Resource;
use kube::runtime::watcher;
use tokio::time::Instant;

use crate::error_chain::{chain, is_missing_right};

/// Time from the first refusal until objects report it. New rights are in force within seconds.
const REPORTED_AFTER: Duration = Duration::from_secs(30);

/// Time from the last refusal until it no longer counts. A refused watch is tried again at least once in this time.
const REPORTED_FOR: Duration = Duration::from_secs(90);

/// A watch: its namespace, or `None` for all, and its kind.
type RefusedWatch = (Option<String>, String);

/// The refusals of each watch.
#[derive(Debug, Clone, Default)]
pub(super) struct RefusedWatches(Arc<Mutex<BTreeMap<RefusedWatch, Refused>>>);

#[derive(Debug)]
struct Refused {
    first: Instant,
    last: Instant,
    message: String,
}

impl RefusedWatches {
    /// Records the error of a watch if the operator lacks a right for it.
    pub(super) fn record<K>(&self, namespace: Option<&str>, error: &watcher::Error)
    where
        K: Resource<DynamicType = ()>,
    {
        if !is_missing_right(error) {
            return;
        }
        let (now, kind) = (Instant::now(), K::plural(&()).into_owned());
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = watches.entry((namespace.map(str::to_owned), kind));
        let refused = watch.or_insert_with(|| Refused {
            first: now,
            last: now,
            message: String::new(),
        });
        if now.duration_since(refused.last) > REPORTED_FOR {
            refused.first = now;
        }
        refused.last = now;
        refused.message = chain(error);
    }

    /// Returns what the API server says about a refused watch that concerns the objects of a namespace: the first one by name.
    pub(super) fn of(&self, namespace: &str) -> Option<String> {
        let now = Instant::now();
        let watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lasting = watches.iter().filter(|((of, _), refused)| {
            of.as_deref().is_none_or(|of| of == namespace)
                && now.duration_since(refused.first) >= REPORTED_AFTER
                && now.duration_since(refused.last) <= REPORTED_FOR
        });
        lasting.next().map(|(_, refused)| refused.message.clone())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Pod, Service};
    use kube::core::Status;

    use super::*;

    fn refused(kind: &str) -> watcher::Error {
        let message = format!("{kind} is forbidden: User \"behalf\" cannot list resource \"{kind}\"");
        let status = Status::failure(&message, "Forbidden").with_code(403).boxed();
        watcher::Error::InitialListFailed(kube::Error::Api(status))
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_watch_is_reported_after_half_a_minute_and_no_longer_when_it_works_again() {
        let watches = RefusedWatches::default();
        let refuse = || watches.record::<Pod>(Some("mcp"), &refused("pods"));
        refuse();
        tokio::time::advance(REPORTED_AFTER / 2).await;
        refuse();
        assert_eq!(watches.of("mcp"), None);
        tokio::time::advance(REPORTED_AFTER / 2).await;
        refuse();
        assert!(
            watches
                .of("mcp")
                .unwrap()
                .contains("cannot list resource \"pods\"")
        );
        assert_eq!(watches.of("elsewhere"), None);
        tokio::time::advance(REPORTED_FOR + Duration::from_secs(1)).await;
        assert_eq!(watches.of("mcp"), None);
        refuse();
        assert_eq!(watches.of("mcp"), None, "it begins again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_of_all_namespaces_concerns_every_object_and_another_error_none() {
        let watches = RefusedWatches::default();
        let gone = Status::failure("etcd is slow", "InternalError")
            .with_code(500)
            .boxed();
        watches.record::<Service>(None, &watcher::Error::WatchStartFailed(kube::Error::Api(gone)));
        tokio::time::advance(REPORTED_AFTER).await;
        assert_eq!(watches.of("mcp"), None);
        watches.record::<Pod>(None, &refused("pods"));
        tokio::time::advance(REPORTED_AFTER).await;
        assert!(watches.of("mcp").is_some());
    }
}
