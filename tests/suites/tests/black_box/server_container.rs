//! The container of the built-in server in a running Pod. Kubernetes lets its image be replaced in place.

use behalf_demo::environment::Server;

use crate::credentials::pod_of;
use crate::world::{TestResult, World};

/// The built-in server's container, and the image that it runs by right.
pub(crate) struct ServerContainer<'w> {
    world: &'w World,
    pod: String,
    image: String,
}

impl<'w> ServerContainer<'w> {
    /// The container in the server's Pod of this moment.
    pub(crate) async fn of(world: &'w World, server: Server) -> TestResult<Self> {
        let pod = pod_of(world, server).await?;
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let image = containers
            .filter(|container| container.name == "mcp-server")
            .find_map(|container| container.image.clone())
            .ok_or("the Pod has no server")?;
        Ok(Self {
            world,
            pod: format!("pod/{}", pod.metadata.name.unwrap_or_default()),
            image,
        })
    }

    /// The image that the operator chose.
    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    /// Replaces the image, in this one Pod.
    pub(crate) fn replace(&self, image: &str) -> TestResult {
        let image = format!("mcp-server={image}");
        self.world.kubectl(&["set", "image", &self.pod, &image])?;
        Ok(())
    }

    /// Puts the operator's image back.
    pub(crate) fn restore(&self) -> TestResult {
        self.replace(&self.image)
    }
}
