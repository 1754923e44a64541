//! An object without `spec.replicas`: the API server answers no read of its scale subresource, until somebody sets the number once.

use std::time::Duration;

use behalf_demo::environment::Objects;
use behalf_local_cluster::files;
use behalf_runtime::error_chain;
use behalf_tests::limits::restoring;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![OwnNamespaces: [an_object_without_replicas_can_be_scaled_automatically_once_somebody_set_them]];

/// No operator watches it.
const NAMESPACE: &str = "without-replicas";

/// The object of the example, and the autoscaler's.
const NAME: &str = "article";

/// Maximum time until the controller of autoscalers looks, which is every 15 s.
const AUTOSCALER: Duration = Duration::from_mins(1);

async fn an_object_without_replicas_can_be_scaled_automatically_once_somebody_set_them(
    world: &World,
) -> TestResult {
    let work = async {
        Objects::default()
            .add_namespace(NAMESPACE)
            .apply(&world.running.client)
            .await?;
        apply(world, &autoscaler()?)?;
        let set_by_scale = ["scale", "mcpserver", NAME, "--replicas=3"];
        let set_by_patch = [
            "patch",
            "mcpserver",
            NAME,
            "--type=merge",
            "--patch={\"spec\":{\"replicas\":3}}",
        ];
        for set_once in [&set_by_scale[..], &set_by_patch] {
            apply(world, &without_replicas()?)?;
            let refused = scale(world).err().map(|error| error_chain(error.as_ref()));
            ensure!(
                refused.as_ref().is_some_and(|text| text.contains(MISSING)),
                "a read of the scale subresource answers {refused:?}"
            );
            autoscaler_says(world, "FailedGetScale", MISSING).await?;

            kubectl(world, set_once)?;
            ensure!(scale(world)? == 3, "{set_once:?} set another number");
            autoscaler_says(world, "SucceededGetScale", "").await?;

            // As GitOps does, whose file has no number.
            apply(world, &without_replicas()?)?;
            ensure!(scale(world)? == 3, "an apply without the number changed it");
            kubectl(world, &["delete", "mcpserver", NAME])?;
        }
        Ok(())
    };
    let delete = async {
        let arguments = [
            "delete",
            "namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--wait=false",
        ];
        world.running.cluster.kubectl(&arguments)?;
        Ok(())
    };
    restoring(work, delete).await
}

/// How the API server refuses to read the scale subresource.
const MISSING: &str = "the spec replicas field \".spec.replicas\" does not exist";

fn kubectl(world: &World, arguments: &[&str]) -> TestResult<String> {
    Ok(world
        .running
        .cluster
        .kubectl(&[&["--namespace", NAMESPACE], arguments].concat())?)
}

fn apply(world: &World, object: &Value) -> TestResult {
    let arguments = [
        "--namespace",
        NAMESPACE,
        "apply",
        "--server-side",
        "--filename",
        "-",
    ];
    world
        .running
        .cluster
        .kubectl_with(&arguments, &object.to_string())?;
    Ok(())
}

fn example(path: &str) -> TestResult<Value> {
    let text = std::fs::read_to_string(files::checkout().join("examples").join(path))?;
    let mut object: Value = serde_yaml::from_str(&text)?;
    object["metadata"]["namespace"] = json!(NAMESPACE);
    Ok(object)
}

fn autoscaler() -> TestResult<Value> {
    example("autoscaler.yaml")
}

fn without_replicas() -> TestResult<Value> {
    let mut object = example("high-availability/mcpserver.yaml")?;
    let removed = object["spec"]
        .as_object_mut()
        .and_then(|spec| spec.remove("replicas"));
    ensure!(removed.is_some(), "the example has no replicas");
    Ok(object)
}

/// Reads the number of Pods as an autoscaler does.
fn scale(world: &World) -> TestResult<i64> {
    let path = format!("/apis/behalf.dev/v1alpha1/namespaces/{NAMESPACE}/mcpservers/{NAME}/scale");
    let scale: Value = serde_json::from_str(&world.running.cluster.kubectl(&["get", "--raw", &path])?)?;
    Ok(scale["spec"]["replicas"]
        .as_i64()
        .ok_or("the scale has no number")?)
}

/// Waits until the autoscaler's condition `AbleToScale` has this reason, and this text in its message.
async fn autoscaler_says(world: &World, reason: &str, text: &str) -> TestResult {
    let end = Instant::now() + AUTOSCALER;
    loop {
        let answer = kubectl(world, &["get", "horizontalpodautoscaler", NAME, "--output=json"])?;
        let autoscaler: Value = serde_json::from_str(&answer)?;
        let conditions = &autoscaler["status"]["conditions"];
        let mut all = conditions.as_array().into_iter().flatten();
        let is_said = |condition: &Value| {
            condition["type"] == "AbleToScale"
                && condition["reason"] == reason
                && condition["message"]
                    .as_str()
                    .is_some_and(|message| message.contains(text))
        };
        if all.any(is_said) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "AbleToScale is not {reason}: {conditions}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
