//! Reads from a container's status whether its run, from one start to its end, has a log.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus};

/// The kubelet's reason for a container that its runtime does not have. When it evicts a Pod it may remove the containers
/// before it reports their end, and counts one more restart, although no container started again.
const UNKNOWN: &str = "ContainerStatusUnknown";

/// Whether the run has ended. `None` if the container has not started, or the status tells of a run that never was.
pub fn is_over(container: &ContainerStatus) -> Option<bool> {
    let state = container.state.as_ref()?;
    if state.running.is_some() {
        return Some(false);
    }
    // A container that waits for its next start reports its last run.
    let runs = [Some(state), container.last_state.as_ref()];
    let reason = runs.into_iter().flatten().find_map(reason_of_end)?;
    (reason != UNKNOWN).then_some(true)
}

fn reason_of_end(state: &ContainerState) -> Option<&str> {
    let terminated = state.terminated.as_ref()?;
    Some(terminated.reason.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(state: &Value, last_state: &Value, restarts: i32) -> ContainerStatus {
        let status = json!({
            "name": "auth-sidecar", "image": "", "imageID": "", "ready": false,
            "restartCount": restarts, "state": state, "lastState": last_state,
        });
        serde_json::from_value(status).unwrap()
    }

    fn ended(reason: &str) -> Value {
        json!({"terminated": {"exitCode": 0, "reason": reason}})
    }

    #[test]
    fn a_run_is_over_when_its_container_ended() {
        let running = json!({"running": {}});
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let nothing = json!({});
        assert_eq!(is_over(&container(&nothing, &nothing, 0)), None);
        assert_eq!(is_over(&container(&waiting, &nothing, 0)), None);
        assert_eq!(is_over(&container(&running, &nothing, 0)), Some(false));
        assert_eq!(is_over(&container(&running, &ended("Error"), 1)), Some(false));
        assert_eq!(is_over(&container(&waiting, &ended("Error"), 1)), Some(true));
        assert_eq!(is_over(&container(&ended("Completed"), &nothing, 0)), Some(true));
    }

    /// As Kubernetes 1.34 reports a Pod that was evicted.
    #[test]
    fn a_container_that_the_kubelet_lost_has_no_further_run() {
        let unknown = json!({"terminated": {
            "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null,
            "message": "The container could not be located when the pod was terminated",
        }});
        let waiting = json!({"waiting": {"reason": "PodInitializing"}});
        let nothing = json!({});
        assert_eq!(is_over(&container(&unknown, &nothing, 1)), None);
        assert_eq!(is_over(&container(&unknown, &ended("Completed"), 1)), None);
        assert_eq!(is_over(&container(&waiting, &unknown, 1)), None);
        assert_eq!(
            is_over(&container(&json!({"running": {}}), &unknown, 1)),
            Some(false)
        );
    }
}
