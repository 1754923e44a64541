//! The faults of a fault run: each replaces a part of the installation while users call.

use std::time::{Duration, Instant};

use behalf_demo::environment::{Conditions, NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server, wait_available};
use behalf_local_cluster::files::checkout;
use behalf_local_cluster::images::Image;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use crate::ensure;
use crate::scratch_server::NAME;
use crate::world::{TestResult, World};

/// Maximum time until everything is replaced after one fault.
const LIMIT: Duration = Duration::from_mins(4);

/// The images of the sidecar between which the installation is upgraded.
pub(super) struct Sidecars {
    installed: Image,
    other: Image,
}

impl Sidecars {
    pub(super) fn load(world: &World) -> TestResult<Self> {
        let [installed, other] = world.sidecars()?;
        Ok(Self { installed, other })
    }
}

/// Deletes a Pod of the server.
pub(super) async fn delete_a_pod(world: &World) -> TestResult {
    let pods: Api<Pod> = Api::namespaced(world.running.client.clone(), NAMESPACE_SERVERS);
    let selector = format!("app.kubernetes.io/instance={NAME}");
    let all = pods.list(&ListParams::default().labels(&selector)).await?;
    // An earlier rollout may still remove a Pod.
    let stays = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
    let pod = all.items.iter().find(stays);
    let pod = pod.and_then(|pod| pod.metadata.name.clone());
    let pod = pod.ok_or("no Pod to delete")?;
    world.kubectl(&["delete", "pod", &pod, "--ignore-not-found", "--wait=true"])?;
    available(world).await
}

/// Deletes the Pods of the operator.
pub(super) async fn restart_operator(world: &World) -> TestResult {
    let namespace = ["--namespace", NAMESPACE_OPERATOR];
    let delete = ["delete", "pod", "--all", "--wait=true"];
    world
        .running
        .cluster
        .kubectl(&[&namespace[..], &delete].concat())?;
    wait_available(
        &world.running.client,
        NAMESPACE_OPERATOR,
        "behalf-operator",
        LIMIT,
    )
    .await?;
    Ok(())
}

/// Upgrades the installation to the image of the sidecar that does not run now.
pub(super) async fn upgrade(world: &World, sidecars: &Sidecars) -> TestResult {
    let runs_installed =
        sidecar_image(world, NAME)? == world.running.cluster.image_reference(&sidecars.installed);
    let to = if runs_installed {
        &sidecars.other
    } else {
        &sidecars.installed
    };
    install(world, to).await?;
    rolled_out(world, NAME, to).await
}

/// Installs the first image again, and waits until the servers of the other tests run it.
pub(super) async fn restore(world: &World, sidecars: &Sidecars) -> TestResult {
    install(world, &sidecars.installed).await?;
    for server in Server::ALL {
        rolled_out(world, server.name(), &sidecars.installed).await?;
        world.wait_settled(server).await?;
    }
    Ok(())
}

async fn install(world: &World, sidecar: &Image) -> TestResult {
    let chart = checkout().join("charts/behalf").display().to_string();
    let tag = format!("images.sidecar.tag={}", sidecar.tag);
    world.running.cluster.helm(&[
        "upgrade",
        "behalf",
        &chart,
        "--namespace",
        NAMESPACE_OPERATOR,
        "--reuse-values",
        "--set",
        &tag,
    ])?;
    let operator = "behalf-operator";
    wait_available(&world.running.client, NAMESPACE_OPERATOR, operator, LIMIT).await?;
    Ok(())
}

/// Waits until all Pods of a server run this image of the sidecar.
async fn rolled_out(world: &World, server: &str, sidecar: &Image) -> TestResult {
    let reference = world.running.cluster.image_reference(sidecar);
    let began = Instant::now();
    while sidecar_image(world, server)? != reference {
        ensure!(
            began.elapsed() < LIMIT,
            "the Deployment {server} still names another image of the sidecar"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(wait_available(&world.running.client, NAMESPACE_SERVERS, server, LIMIT).await?)
}

/// The image of the sidecar that the Deployment names.
fn sidecar_image(world: &World, server: &str) -> TestResult<String> {
    let deployment = world.get("deployment", server)?;
    let containers = deployment.pointer("/spec/template/spec/initContainers");
    let sidecar = containers
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|container| container["name"] == "auth-sidecar");
    let image = sidecar.and_then(|sidecar| sidecar["image"].as_str());
    Ok(image.ok_or("the Deployment has no sidecar")?.to_owned())
}

/// Evicts the server's Pods from one node, as an administrator does before a repair. Returns false if there is one node only.
pub(super) async fn drain_a_node(world: &World) -> TestResult<bool> {
    let nodes = world
        .running
        .cluster
        .kubectl(&["get", "nodes", "--output", "name"])?;
    if nodes.lines().count() < 2 {
        return Ok(false);
    }
    let selector = format!("app.kubernetes.io/instance={NAME}");
    let of_pods = "jsonpath={.items[*].spec.nodeName}";
    let used = world.kubectl(&["get", "pods", "--selector", &selector, "--output", of_pods])?;
    let node = used
        .split_whitespace()
        .next()
        .ok_or("no Pod is on a node")?
        .to_owned();
    let pods = format!("--pod-selector={selector}");
    let drained = world.kubectl(&[
        "drain",
        &node,
        &pods,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--timeout=150s",
    ]);
    let available = available(world).await;
    world.kubectl(&["uncordon", &node])?;
    drained?;
    available.map(|()| true)
}

/// Asks for a rotation of the keys. Returns the key that seals now.
pub(super) async fn request_rotation(world: &World) -> TestResult<String> {
    let before = sealing_key(world).await?;
    let request = format!("behalf.dev/rotate-keys=after {before}");
    world.kubectl(&["annotate", "mcpserver", NAME, "--overwrite", &request])?;
    Ok(before)
}

/// Waits until another key seals.
pub(super) async fn wait_rotated(world: &World, before: &str) -> TestResult {
    let began = Instant::now();
    while sealing_key(world).await? == before {
        ensure!(began.elapsed() < LIMIT, "the keys were not rotated");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn sealing_key(world: &World) -> TestResult<String> {
    let now = Conditions::read(&world.running.client, NAME).await?;
    let key = now.status.pointer("/keys/current").and_then(Value::as_str);
    Ok(key.ok_or("the status names no key")?.to_owned())
}

async fn available(world: &World) -> TestResult {
    Ok(wait_available(&world.running.client, NAMESPACE_SERVERS, NAME, LIMIT).await?)
}
