//! Reads from a Pod's status whether a container whose image was replaced runs the wanted image. Kubernetes replaces
//! an image in a running Pod without a new Pod. The status lags behind the container: an answer of the new container
//! does not show that the status reports it.

use k8s_openapi::api::core::v1::Pod;

/// Returns what the Pod's status does not report yet; nothing if it reports the wanted container. `is_wanted` decides
/// by the ID of an image, because the kubelet may report another of the image's names than the spec has.
pub fn unreported(pod: &Pod, container: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut unreported = Vec::new();
    let status = pod.status.clone().unwrap_or_default();
    // A kubelet before Kubernetes 1.34 does not set `observedGeneration`.
    let generation = pod.metadata.generation.unwrap_or_default();
    if let Some(observed) = status
        .observed_generation
        .filter(|observed| *observed < generation)
    {
        unreported.push(format!(
            "the generation is {generation}, but the status is of {observed}"
        ));
    }
    let containers = status.container_statuses.unwrap_or_default();
    let Some(container) = containers.into_iter().find(|status| status.name == container) else {
        unreported.push(format!("container {container} has no status"));
        return unreported;
    };
    if !is_wanted(&container.image_id) {
        unreported.push(format!("the image is {:?}", container.image_id));
    }
    let state = container.state.unwrap_or_default();
    if state.running.is_none() {
        unreported.push(format!("the container does not run: {state:?}"));
    }
    if !container.ready {
        unreported.push("the container is not ready".to_owned());
    }
    let mut conditions = status.conditions.iter().flatten();
    if !conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        unreported.push("the Pod is not ready".to_owned());
    }
    unreported
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OLD: &str = "sha256:old";
    const NEW: &str = "sha256:new";

    fn reported(image_id: &str) -> Value {
        json!({
            "metadata": {"generation": 3},
            "status": {
                "observedGeneration": 3,
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [
                    {"name": "proxy", "image": "p", "imageID": "sha256:proxy", "ready": true, "restartCount": 0},
                    {"name": "server", "image": "s", "imageID": image_id, "ready": true, "restartCount": 7,
                     "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}},
                ],
            },
        })
    }

    fn unreported_of(pod: &Value) -> Vec<String> {
        let pod = serde_json::from_value(pod.clone()).unwrap();
        unreported(&pod, "server", |id| id == NEW)
    }

    #[test]
    fn a_status_with_the_wanted_container_is_complete() {
        assert_eq!(unreported_of(&reported(NEW)), [""; 0]);
    }

    #[test]
    fn each_part_of_the_status_that_lags_is_reported() {
        for (pointer, stale, expected) in [
            ("/status/observedGeneration", json!(2), "the status is of 2"),
            ("/status/containerStatuses/1/imageID", json!(OLD), OLD),
            (
                "/status/containerStatuses/1/state",
                json!({"waiting": {"reason": "ErrImagePull"}}),
                "ErrImagePull",
            ),
            (
                "/status/containerStatuses/1/ready",
                json!(false),
                "the container is not ready",
            ),
            (
                "/status/conditions/0/status",
                json!("False"),
                "the Pod is not ready",
            ),
            (
                "/status/containerStatuses/1/name",
                json!("other"),
                "has no status",
            ),
        ] {
            let mut pod = reported(NEW);
            *pod.pointer_mut(pointer).unwrap() = stale;
            let unreported = unreported_of(&pod);
            assert!(
                unreported.len() == 1 && unreported[0].contains(expected),
                "{pointer}: {unreported:?}"
            );
        }
    }

    #[test]
    fn a_status_without_an_observed_generation_is_judged_by_the_container() {
        for (image_id, count) in [(NEW, 0), (OLD, 1)] {
            let mut pod = reported(image_id);
            pod["status"]["observedGeneration"] = Value::Null;
            assert_eq!(unreported_of(&pod).len(), count, "{image_id}");
        }
    }

    #[test]
    fn a_pod_without_a_status_reports_nothing() {
        assert!(!unreported_of(&json!({"metadata": {"generation": 1}})).is_empty());
    }
}
