//! The faults of a fault run: each replaces a part of the installation while users call.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use behalf_demo::environment::{Conditions, NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server, wait_available};
use behalf_local_cluster::files::checkout;
use behalf_local_cluster::images::{Image, Product};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use super::REPLICAS;
use crate::ensure;
use crate::scratch_server::NAME;
use crate::world::{TestResult, World};

/// Maximum time until everything is replaced after one fault.
const LIMIT: Duration = Duration::from_mins(8);

/// The images between which the installation is upgraded: the installed one and another one of each part.
pub(super) struct Releases {
    operator: [Image; 2],
    sidecar: [Image; 2],
}

impl Releases {
    pub(super) fn load(world: &World) -> TestResult<Self> {
        Ok(Self {
            operator: world.releases(Product::Operator)?,
            sidecar: world.releases(Product::AuthSidecar)?,
        })
    }
}

/// Fails unless each replica of the server is on a node of its own.
pub(super) fn are_spread(world: &World) -> TestResult {
    let nodes = nodes_of_pods(world)?;
    let different: BTreeSet<_> = nodes.iter().collect();
    ensure!(
        nodes.len() == REPLICAS && different.len() == REPLICAS,
        "the Pods are not on {REPLICAS} nodes: {nodes:?}"
    );
    Ok(())
}

/// The node of each Pod of the server.
fn nodes_of_pods(world: &World) -> TestResult<Vec<String>> {
    let selector = format!("app.kubernetes.io/instance={NAME}");
    let of_pods = "jsonpath={.items[*].spec.nodeName}";
    let nodes = world.kubectl(&["get", "pods", "--selector", &selector, "--output", of_pods])?;
    Ok(nodes.split_whitespace().map(str::to_owned).collect())
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

/// Upgrades the operator to the image that does not run now, and waits until only Pods of this image run.
pub(super) async fn upgrade_operator(world: &World, releases: &Releases) -> TestResult {
    let to = other(world, &releases.operator, &operator_images(world)?);
    install(world, &[("image.tag", to)]).await?;
    let wanted = world.running.cluster.image_reference(to);
    let began = Instant::now();
    loop {
        let run = operator_images(world)?;
        if !run.is_empty() && run.iter().all(|image| *image == wanted) {
            return Ok(());
        }
        ensure!(
            began.elapsed() < LIMIT,
            "the Pods of the operator do not run {wanted}, but {run:?}"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The image of each Pod of the operator.
fn operator_images(world: &World) -> TestResult<Vec<String>> {
    let images = world.running.cluster.kubectl(&[
        "--namespace",
        NAMESPACE_OPERATOR,
        "get",
        "pods",
        "--output",
        "jsonpath={.items[*].spec.containers[*].image}",
    ])?;
    Ok(images.split_whitespace().map(str::to_owned).collect())
}

/// Upgrades the sidecars to the image that does not run now.
pub(super) async fn upgrade_sidecar(world: &World, releases: &Releases) -> TestResult {
    let to = other(world, &releases.sidecar, &[sidecar_image(world, NAME)?]);
    install(world, &[("images.sidecar.tag", to)]).await?;
    rolled_out(world, NAME, to).await
}

/// The image that does not run now.
fn other<'i>(world: &World, [installed, next]: &'i [Image; 2], run: &[String]) -> &'i Image {
    if run.contains(&world.running.cluster.image_reference(installed)) {
        next
    } else {
        installed
    }
}

/// Installs the first images again, and waits until the servers of the other tests run them.
pub(super) async fn restore(world: &World, releases: &Releases) -> TestResult {
    let ([operator, _], [sidecar, _]) = (&releases.operator, &releases.sidecar);
    install(world, &[("image.tag", operator), ("images.sidecar.tag", sidecar)]).await?;
    for server in Server::ALL {
        rolled_out(world, server.name(), sidecar).await?;
        world.wait_settled(server).await?;
    }
    Ok(())
}

/// Upgrades the chart with these tags of images, and waits for the operator.
async fn install(world: &World, tags: &[(&str, &Image)]) -> TestResult {
    let chart = checkout().join("charts/behalf").display().to_string();
    let tags: Vec<_> = tags
        .iter()
        .map(|(value, image)| format!("{value}={}", image.tag))
        .collect();
    let mut arguments = vec!["upgrade", "behalf", &chart, "--namespace", NAMESPACE_OPERATOR];
    arguments.push("--reuse-values");
    for tag in &tags {
        arguments.extend(["--set-string", tag]);
    }
    world.running.cluster.helm(&arguments)?;
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

/// Evicts the server's Pods from one node, as an administrator does before a repair.
pub(super) async fn drain_a_node(world: &World) -> TestResult {
    let selector = format!("app.kubernetes.io/instance={NAME}");
    let used = nodes_of_pods(world)?;
    let node = used.first().ok_or("no Pod is on a node")?;
    let pods = format!("--pod-selector={selector}");
    let drained = world.kubectl(&[
        "drain",
        node,
        &pods,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--timeout=150s",
    ]);
    let available = available(world).await;
    world.kubectl(&["uncordon", node])?;
    drained?;
    available
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
