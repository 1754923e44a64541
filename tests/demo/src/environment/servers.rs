//! Applies the demo's `McpServer` objects.

use kube::Client;
use serde_json::{Value, json};

use super::{EnvironmentError, Layout, NAMESPACE_SERVERS, Objects, Server, redis};
use behalf_local_cluster::cluster::Cluster;
use behalf_local_cluster::files::checkout;

/// The name of the `ConfigMap` that `certificateAuthorityRef` of the demo's overlay points to.
const CERTIFICATE_AUTHORITY: &str = "demo-certificate-authority";

/// Applies `examples/demo`: overlays on the examples that point them at the simulators.
///
/// The overlay's `publicUrl`s and log levels are the demo's; another environment gets its own.
pub async fn apply_servers(
    cluster: &Cluster,
    client: &Client,
    layout: &Layout,
    certificate_authority: &str,
    redis_image: &str,
) -> Result<(), EnvironmentError> {
    let mut objects = Objects::default();
    objects.add_namespace(NAMESPACE_SERVERS);
    objects.add(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": CERTIFICATE_AUTHORITY, "namespace": NAMESPACE_SERVERS},
        "data": {"ca.crt": certificate_authority},
    }));
    objects.apply(client).await?;
    redis::ensure_credentials(client, layout.redis_users).await?;

    let mut servers = render(cluster)?;
    for object in servers.iter_mut() {
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        match object.get("kind").and_then(Value::as_str) {
            Some("McpServer") => {}
            Some("StatefulSet") => {
                object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(redis_image);
                continue;
            }
            _ => continue,
        }
        let spec = &mut object["spec"];
        spec["sidecar"]["logLevel"] = json!(layout.log_level);
        spec["server"]["azureDevOps"]["logLevel"] = json!(layout.log_level);
        if let Some(collector) = layout.collector_address(cluster) {
            spec["tracing"] = json!({"endpoint": format!("http://{collector}")});
        }
        if let Some(server) = Server::ALL.into_iter().find(|server| server.name() == name) {
            let origin = layout.public_url(server);
            spec["publicUrl"] = json!(origin.as_str().trim_end_matches('/'));
        }
    }
    servers.apply(client).await
}

/// The overlay as `kubectl` renders it.
pub fn render(cluster: &Cluster) -> Result<Objects, EnvironmentError> {
    let overlay = checkout().join("examples/demo");
    let folder = overlay.display().to_string();
    // The overlay refers to files beside its folder, which kustomize reads only with this option.
    let text = cluster
        .kubectl(&["kustomize", "--load-restrictor", "LoadRestrictionsNone", &folder])
        .map_err(EnvironmentError::cluster("render examples/demo"))?;
    Objects::from_yaml(&text).map_err(|error| EnvironmentError::Manifest {
        path: overlay,
        problem: error.to_string(),
    })
}
