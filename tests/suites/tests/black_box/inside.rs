//! A shell inside a container of a running Pod, with the rights of that container and no more.

use std::time::Duration;

use behalf_demo::environment::NAMESPACE_SERVERS;
use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use kube::Api;
use kube::api::{LogParams, Patch, PatchParams};
use serde_json::json;

use crate::ensure;
use crate::world::{TestResult, World};

/// Maximum duration of a script, with the time to load its image on the node.
const LIMIT: Duration = Duration::from_mins(1);

/// A container to look into: an ephemeral container joins its processes, as its user.
pub(crate) struct Inside {
    pods: Api<Pod>,
    pod: String,
    target: String,
    user: i64,
    image: String,
}

impl Inside {
    /// The container of this name in the Pod.
    pub(crate) fn of(world: &World, pod: &Pod, target: &str) -> TestResult<Self> {
        let spec = pod.spec.as_ref().ok_or("the Pod has no spec")?;
        let container = spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
            .find(|container| container.name == target)
            .ok_or_else(|| format!("the Pod has no container {target}"))?;
        let user = container
            .security_context
            .as_ref()
            .and_then(|context| context.run_as_user)
            .or_else(|| spec.security_context.as_ref()?.run_as_user)
            .ok_or("the container names no user")?;
        Ok(Self {
            pods: Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            target: target.to_owned(),
            user,
            image: world.debug_image()?,
        })
    }

    /// Runs a shell script to its end and returns what it printed.
    pub(crate) async fn run(&self, script: &str) -> TestResult<String> {
        let before = self.pods.get(&self.pod).await?;
        let mut all: Vec<EphemeralContainer> = before
            .spec
            .and_then(|spec| spec.ephemeral_containers)
            .unwrap_or_default();
        let name = format!("look-{}", all.len());
        all.push(serde_json::from_value(json!({
            "name": name, "image": self.image, "targetContainerName": self.target,
            "command": ["sh", "-c", script],
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": self.user, "runAsGroup": self.user,
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }))?);
        let patch = Patch::Strategic(json!({"spec": {"ephemeralContainers": all}}));
        self.pods
            .patch_ephemeral_containers(&self.pod, &PatchParams::default(), &patch)
            .await?;
        let ended = tokio::time::timeout(LIMIT, self.ended(&name)).await;
        let code = ended.map_err(|_| format!("the look into {} did not end", self.target))??;
        let parameters = LogParams {
            container: Some(name),
            ..LogParams::default()
        };
        let said = self.pods.logs(&self.pod, &parameters).await?;
        ensure!(
            code == 0,
            "the look into {} ended with {code}: {said}",
            self.target
        );
        Ok(said)
    }

    async fn ended(&self, name: &str) -> TestResult<i32> {
        loop {
            let status = self.pods.get(&self.pod).await?.status.unwrap_or_default();
            let code = status
                .ephemeral_container_statuses
                .iter()
                .flatten()
                .find(|status| status.name == name)
                .and_then(|status| status.state.as_ref()?.terminated.as_ref())
                .map(|terminated| terminated.exit_code);
            if let Some(code) = code {
                return Ok(code);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
