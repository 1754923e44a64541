//! Replaces the image of the built-in server in a running Pod. Kubernetes does this without a new Pod.

use std::time::{Duration, Instant};

use behalf_demo::environment::{NAMESPACE_SERVERS, Server};
use behalf_tests::replaced_container::unreported;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use crate::credentials::pod_of;
use crate::world::{TestResult, World};

const CONTAINER: &str = "mcp-server";

/// Maximum time until the Pod's status reports a replaced container. The kubelet waits up to the Pod's grace period of
/// 60 s for the old container.
const LIMIT: Duration = Duration::from_mins(2);

/// The built-in server's container, and the image that the operator chose.
pub(crate) struct ServerContainer<'w> {
    world: &'w World,
    server: Server,
    pod: String,
    image: String,

    /// The ID under which the kubelet reports `image`.
    image_id: String,
}

impl<'w> ServerContainer<'w> {
    /// Returns the container in the server's current Pod. It must run the operator's image.
    pub(crate) async fn of(world: &'w World, server: Server) -> TestResult<Self> {
        let pod = pod_of(world, server).await?;
        let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let image = containers
            .find(|container| container.name == CONTAINER)
            .and_then(|container| container.image.clone())
            .ok_or("the Pod has no server")?;
        let statuses = pod.status.iter().flat_map(|status| &status.container_statuses);
        let image_id = statuses
            .flatten()
            .find(|status| status.name == CONTAINER)
            .map(|status| status.image_id.clone())
            .ok_or("the Pod reports no server")?;
        Ok(Self {
            world,
            server,
            pod: pod.metadata.name.unwrap_or_default(),
            image,
            image_id,
        })
    }

    /// The image that the operator chose.
    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    /// Replaces the image in this one Pod. Does not wait, so that the image may be one that cannot be pulled.
    pub(crate) fn set_image(&self, image: &str) -> TestResult {
        let (pod, image) = (format!("pod/{}", self.pod), format!("{CONTAINER}={image}"));
        self.world.kubectl(&["set", "image", &pod, &image])?;
        Ok(())
    }

    /// Replaces the image in this one Pod and waits until the Pod's status reports that another image than the
    /// operator's runs.
    pub(crate) async fn run_image(&self, image: &str) -> TestResult {
        self.set_image(image)?;
        self.wait_for_status(|id| id != self.image_id).await
    }

    /// Sets the operator's image again. Waits until the Pod's status reports it and the operator reports the object as
    /// settled, so that the next test does not see this restart.
    pub(crate) async fn restore(&self) -> TestResult {
        self.set_image(&self.image)?;
        self.wait_for_status(|id| id == self.image_id).await?;
        self.world.wait_settled(self.server).await.map(drop)
    }

    async fn wait_for_status(&self, is_wanted: impl Fn(&str) -> bool) -> TestResult {
        let pods: Api<Pod> = Api::namespaced(self.world.running.client.clone(), NAMESPACE_SERVERS);
        let started = Instant::now();
        loop {
            let unreported = unreported(&pods.get(&self.pod).await?, CONTAINER, &is_wanted);
            if unreported.is_empty() {
                return Ok(());
            }
            if started.elapsed() > LIMIT {
                return Err(format!(
                    "Pod {} does not report its replaced container after {} s: {}",
                    self.pod,
                    LIMIT.as_secs(),
                    unreported.join("; ")
                )
                .into());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
