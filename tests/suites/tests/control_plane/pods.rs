//! A stub of the kubelet: no container runs, and each new Pod is ready after a moment.

use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::world::NAMESPACE;

/// Time from the creation of a Pod until it is ready. It is long enough that rollouts which begin together overlap.
const START: Duration = Duration::from_millis(700);

/// Makes each Pod ready until the future is dropped.
pub(crate) async fn run(client: Client) {
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    watcher(pods.clone(), watcher::Config::default())
        .default_backoff()
        .touched_objects()
        .filter_map(|event| std::future::ready(event.ok()))
        .filter(|pod| {
            let is_new = pod
                .status
                .as_ref()
                .is_none_or(|status| status.phase.as_deref() != Some("Running"));
            std::future::ready(is_new && pod.metadata.deletion_timestamp.is_none())
        })
        .for_each_concurrent(None, |pod| {
            let pods = &pods;
            async move {
                tokio::time::sleep(START).await;
                let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(|kind| {
                    json!({"type": kind, "status": "True", "lastTransitionTime": Timestamp::UNIX_EPOCH})
                });
                let ready = json!({"status": {"phase": "Running", "conditions": conditions}});
                // A Pod that was deleted meanwhile needs none.
                let _ = pods
                    .patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(ready))
                    .await;
            }
        })
        .await;
}
