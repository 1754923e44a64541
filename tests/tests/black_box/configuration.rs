//! Who may edit ConfigMaps in the namespace does not thereby decide where tokens go.

use std::time::Duration;

use behalf_tests::environment::{NAMESPACE_OPERATOR, Server};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::{Value, json};

use crate::credentials::pod_of;
use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![a_configuration_that_somebody_replaced_is_not_run_and_is_made_anew];

async fn a_configuration_that_somebody_replaced_is_not_run_and_is_made_anew(world: &World) -> TestResult {
    let server = Server::Article;
    world.wait_ready(server).await?;
    let pod = pod_of(world, server).await?.metadata.name.unwrap_or_default();
    let name = configuration_of(world, server)?;
    let right: Value =
        serde_json::from_str(&world.kubectl(&["get", "configmap", &name, "--output", "json"])?)?;

    // The operator would put it right within a moment: the Pod must not depend on that.
    scale_operator(world, 0)?;
    let outcome = async {
        world.kubectl(&["delete", "configmap", &name])?;
        world.apply(&replaced(&right)?)?;
        world.kubectl(&["delete", "pod", &pod])?;
        refusal(world, server).await
    };
    let outcome = outcome.await;
    scale_operator(world, 1)?;
    let log = outcome?;
    ensure!(
        log.contains("digest"),
        "the container does not say what is wrong: {log}"
    );

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
    // The kubelet keeps the content of an immutable ConfigMap for as long as a Pod mounts it.
    for suspend in [true, false] {
        let patch = json!({"spec": {"suspend": suspend}}).to_string();
        let patch = [
            "patch",
            "mcpserver",
            server.name(),
            "--type",
            "merge",
            "--patch",
            &patch,
        ];
        world.kubectl(&patch)?;
        let pods = ["wait", "pod", "--for=delete", "--timeout=90s", "--selector"];
        if suspend {
            let selector = format!("app.kubernetes.io/instance={}", server.name());
            world.kubectl(&[pods.as_slice(), &[selector.as_str()]].concat())?;
        }
    }
    world.wait_ready(server).await?;
    Ok(())
}

fn configuration_of(world: &World, server: Server) -> TestResult<String> {
    let names = world.kubectl(&[
        "get",
        "deployment",
        server.name(),
        "--output",
        "jsonpath={.spec.template.spec.volumes[*].configMap.name}",
    ])?;
    let prefix = format!("{}-", server.name());
    let name = names.split_whitespace().find(|name| name.starts_with(&prefix));
    Ok(name.ok_or("the Deployment mounts no configuration")?.to_owned())
}

/// The same, but for one host in every file, and by the same owner.
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

/// What the sidecar of the new Pod says before it ends; it must neither start nor become ready.
async fn refusal(world: &World, server: Server) -> TestResult<String> {
    let limit = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        // Between the two Pods there is none.
        if let Ok(pod) = pod_of(world, server).await {
            let status = sidecar(&pod);
            ensure!(
                status.is_none_or(|status| status.started != Some(true)),
                "the sidecar started with a replaced configuration"
            );
            if status.is_some_and(|status| status.restart_count > 0) {
                let name = pod.metadata.name.clone().unwrap_or_default();
                return world.kubectl(&["logs", &name, "--container", "auth-sidecar", "--previous"]);
            }
        }
        ensure!(
            tokio::time::Instant::now() < limit,
            "no Pod refused the replaced configuration within a minute"
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
