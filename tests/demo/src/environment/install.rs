//! Installs the charts of the operator and of its CRD.

use std::time::Duration;

use kube::Client;

use super::simulators::wait_available;
use super::{EnvironmentError, Layout, NAMESPACE_OPERATOR, NAMESPACE_SERVERS, NAMESPACE_SIMULATORS, Objects};
use behalf_local_cluster::cluster::Cluster;
use behalf_local_cluster::files::checkout;

/// Maximum time until the operator is available.
const START: Duration = Duration::from_mins(2);

/// The references of the images that the charts install.
#[derive(Debug, Clone)]
pub struct ImageReferences {
    /// `behalf-operator`.
    pub operator: String,

    /// `behalf-auth-sidecar`.
    pub sidecar: String,

    /// `behalf-mcp-server`.
    pub mcp_server: String,

    /// `behalf-simulator`.
    pub simulator: String,

    /// Redis, for `examples/high-availability`.
    pub redis: String,
}

/// Installs or upgrades the CRD chart and the operator chart, and waits for the operator.
pub async fn install_operator(
    cluster: &Cluster,
    client: &Client,
    layout: &Layout,
    images: &ImageReferences,
) -> Result<(), EnvironmentError> {
    // The chart binds the operator's rights in each namespace that it watches, so they must exist.
    Objects::default()
        .add_namespace(NAMESPACE_SERVERS)
        .apply(client)
        .await?;
    let charts = checkout().join("charts");
    let crds = charts.join("behalf-crds").display().to_string();
    let operator = charts.join("behalf").display().to_string();
    cluster
        .helm(&[
            "upgrade",
            "--install",
            "behalf-crds",
            &crds,
            "--namespace",
            NAMESPACE_OPERATOR,
            "--create-namespace",
            "--set",
            "aggregatedRoles=true",
        ])
        .map_err(EnvironmentError::cluster("install the chart behalf-crds"))?;
    let set = [
        ("image", &images.operator),
        ("images.sidecar", &images.sidecar),
        ("images.mcpServer", &images.mcp_server),
    ]
    .map(|(value, reference)| image_values(value, reference))
    .concat();
    // Only the simulators are allowed, so no test reaches the real services.
    let simulators = [
        ("allowed.entraHosts", "entra"),
        ("allowed.azureDevOpsHosts", "azure-devops"),
    ]
    .map(|(value, name)| format!("{value}={{{name}.{NAMESPACE_SIMULATORS}.svc:8443}}"));
    // The servers of others that the black-box suite runs beside the operator's own images.
    let registry = images
        .operator
        .rsplit_once('/')
        .map_or("", |(registry, _)| registry);
    let servers = ["everything-server", "fastmcp-server"].map(|name| format!("{registry}/{name}"));
    let repositories = format!("allowed.serverRepositories={{{}}}", servers.join(","));
    let watched = format!("watchNamespaces={{{NAMESPACE_SERVERS}}}");
    let log_level = format!("logLevel={}", layout.log_level);
    let mut arguments = vec![
        "upgrade",
        "--install",
        "behalf",
        operator.as_str(),
        "--namespace",
        NAMESPACE_OPERATOR,
    ];
    for value in set
        .iter()
        .chain(&simulators)
        .chain([&repositories, &watched, &log_level])
    {
        arguments.extend(["--set-string", value]);
    }
    cluster
        .helm(&arguments)
        .map_err(EnvironmentError::cluster("install the chart behalf"))?;
    wait_available(client, NAMESPACE_OPERATOR, "behalf-operator", START).await
}

/// `registry/path/name:tag` as the chart's values.
pub(crate) fn image_values(value: &str, reference: &str) -> Vec<String> {
    let (name, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
    let (registry, repository) = name.split_once('/').unwrap_or(("", name));
    vec![
        format!("{value}.registry={registry}"),
        format!("{value}.repository={repository}"),
        format!("{value}.tag={tag}"),
    ]
}
