//! Tests that a user who may edit a `ConfigMap` in the namespace cannot redirect tokens with it.

use std::time::Duration;

use behalf_demo::environment::{NAMESPACE_OPERATOR, Server};
use behalf_tests::limits::restoring;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::{Value, json};

use crate::credentials::pod_of;
use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![a_replaced_configuration_is_not_run_and_is_created_again];

async fn a_replaced_configuration_is_not_run_and_is_created_again(world: &World) -> TestResult {
    let server = Server::Article;
    world.wait_ready(server).await?;
    let name = world.configuration(server)?;
    let right = world.get("configmap", &name)?;

    // The operator is stopped, because it would restore the ConfigMap at once. The Pod must be safe without that.
    let work = async {
        scale_operator(world, 0)?;
        scale(world, server, 0)?;
        gone(world, server)?;
        world.kubectl(&["delete", "configmap", &name])?;
        world.apply(&replaced(&right)?)?;
        scale(world, server, 1)?;
        refusal(world, server).await
    };
    restoring(work, async { scale_operator(world, 2) }).await?;

    let limit = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        let text = world.kubectl(&[
            "get",
            "configmap",
            &name,
            "--ignore-not-found",
            "--output",
            "json",
        ])?;
        let now: Value = serde_json::from_str(&text).unwrap_or_default();
        if now["data"] == right["data"] {
            break;
        }
        ensure!(
            tokio::time::Instant::now() < limit,
            "the operator did not put the configuration right within a minute: {now}"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // The steps are those of the message. Deleting the Pod is not enough, because the kubelet still caches the
    // immutable ConfigMap for the next Pod. The operator would scale an empty Deployment up again.
    let work = async {
        suspend(world, server, true)?;
        gone(world, server)
    };
    restoring(work, async { suspend(world, server, false) }).await?;
    world.wait_ready(server).await?;
    Ok(())
}

fn scale(world: &World, server: Server, replicas: u8) -> TestResult {
    let replicas = format!("--replicas={replicas}");
    world.kubectl(&["scale", "deployment", server.name(), &replicas])?;
    Ok(())
}

fn suspend(world: &World, server: Server, suspend: bool) -> TestResult {
    let patch = json!({"spec": {"suspend": suspend}}).to_string();
    let name = server.name();
    world.kubectl(&["patch", "mcpserver", name, "--type", "merge", "--patch", &patch])?;
    Ok(())
}

/// Waits until no Pod is left.
fn gone(world: &World, server: Server) -> TestResult {
    let selector = format!("app.kubernetes.io/instance={}", server.name());
    world.kubectl(&[
        "wait",
        "pod",
        "--for=delete",
        "--timeout=90s",
        "--selector",
        &selector,
    ])?;
    Ok(())
}

/// Returns the `ConfigMap` with another host in every file, and with the same owner.
fn replaced(right: &Value) -> TestResult<Value> {
    let files = right["data"].as_object().ok_or("a ConfigMap without data")?;
    let data: serde_json::Map<String, Value> = files
        .iter()
        .map(|(file, text)| {
            let text = text.as_str().unwrap_or_default();
            (file.clone(), text.replace("behalf-simulators", "attacker").into())
        })
        .collect();
    ensure!(
        Some(&data) != right["data"].as_object(),
        "nothing was replaced: the test proves nothing"
    );
    let of = |key: &str| right["metadata"][key].clone();
    Ok(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "immutable": true, "data": data,
        "metadata": {
            "name": of("name"), "labels": of("labels"), "annotations": of("annotations"),
            "ownerReferences": of("ownerReferences"),
        },
    }))
}

/// Waits until the sidecar of the new Pod says why it does not start; it must neither start nor say anything else.
async fn refusal(world: &World, server: Server) -> TestResult {
    let limit = tokio::time::Instant::now() + Duration::from_mins(1);
    let mut log = String::new();
    loop {
        // No Pod exists after the old one ended and before the new one is created.
        if let Ok(pod) = pod_of(world, server).await {
            let status = sidecar(&pod);
            ensure!(
                status.is_none_or(|status| status.started != Some(true)),
                "the sidecar started with a replaced configuration"
            );
            if status.is_some_and(|status| status.restart_count > 0) {
                let name = pod.metadata.name.clone().unwrap_or_default();
                // A container that was just removed has no log.
                log = world
                    .kubectl(&["logs", &name, "--container", "auth-sidecar"])
                    .unwrap_or_default();
                if log.contains("somebody replaced its ConfigMap") {
                    return Ok(());
                }
            }
        }
        ensure!(
            tokio::time::Instant::now() < limit,
            "no Pod refused the replaced configuration within a minute; the last log: {log}"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn sidecar(pod: &Pod) -> Option<&ContainerStatus> {
    let status = pod.status.as_ref()?;
    let mut all = status.init_container_statuses.iter().flatten();
    all.find(|status| status.name == "auth-sidecar")
}

fn scale_operator(world: &World, replicas: u8) -> TestResult {
    let of_operator = |arguments: &[&str]| {
        let all = [&["--namespace", NAMESPACE_OPERATOR], arguments].concat();
        world.running.cluster.kubectl(&all)
    };
    of_operator(&["scale", "deployment", "--all", &format!("--replicas={replicas}")])?;
    if replicas == 0 {
        of_operator(&["wait", "pod", "--all", "--for=delete", "--timeout=60s"])?;
    }
    Ok(())
}
