//! `examples/high-availability-valkey` as a user applies it: the sessions of the server article are in Valkey.

use std::time::Duration;

use behalf_demo::environment::{NAMESPACE_SERVERS, Objects, Server, wait_available};
use behalf_local_cluster::files::checkout;
use behalf_local_cluster::images;
use behalf_simulators::people::ANA;
use behalf_tests::limits::restoring;
use serde_json::json;

use crate::ensure;
use crate::faults::call;
use crate::world::{TestResult, World};

// The sessions of the server article end, because the Pod of its store is replaced.
crate::tests![Everything: [a_session_in_the_valkey_of_the_example_survives_the_loss_of_its_pods]];

const SERVER: Server = Server::Article;

/// The name of the example's `StatefulSet`.
const STORE: &str = "redis";

/// Maximum time until all Pods of one kind are replaced.
const LIMIT: Duration = Duration::from_mins(2);

async fn a_session_in_the_valkey_of_the_example_survives_the_loss_of_its_pods(world: &World) -> TestResult {
    let redis = store_image(world)?;
    let valkey = world.load(&images::valkey(&behalf_local_cluster::Progress::default())?)?;
    let work = async {
        apply(world, "high-availability-valkey", &valkey).await?;
        let server = ["exec", &format!("{STORE}-0"), "--", "valkey-server", "--version"];
        let version = world.kubectl(&server)?;
        println!("    {}", version.trim());
        ensure!(version.starts_with("Valkey server v=8"), "the store is {version}");

        let token = world.access_token(SERVER, &ANA).await?;
        call_succeeds(world, &token, "before a Pod is deleted").await?;
        let selector = format!("app.kubernetes.io/instance={}", SERVER.name());
        let path = "jsonpath={.items[*].metadata.name}";
        let pods = world.kubectl(&["get", "pods", "--selector", &selector, "--output", path])?;
        ensure!(pods.split_whitespace().count() == 2, "the Pods are {pods}");
        // The last Pod that knew the session is gone after the second one.
        for pod in pods.split_whitespace() {
            world.kubectl(&["delete", "pod", pod, "--wait=true"])?;
            call_succeeds(world, &token, "after a Pod was deleted").await?;
            wait_available(&world.running.client, NAMESPACE_SERVERS, SERVER.name(), LIMIT).await?;
        }
        call_succeeds(world, &token, "after every Pod was replaced").await
    };
    let restore = apply(world, "high-availability", &redis);
    restoring(work, restore).await
}

async fn call_succeeds(world: &World, token: &str, when: &str) -> TestResult {
    let answer = call(world, SERVER, token).await?;
    let status = answer.status();
    let body = answer.text().await?;
    ensure!(
        status.is_success() && body.contains(r#""isError":false"#),
        "{when} a call was answered {status}: {body:.300}"
    );
    Ok(())
}

/// The image of the store that runs now.
fn store_image(world: &World) -> TestResult<String> {
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    world.kubectl(&["get", "statefulset", STORE, "--output", image])
}

/// Applies an example with this image of its store and with the addresses of the environment. Then the Pods of the server
/// start with the new store.
async fn apply(world: &World, example: &str, image: &str) -> TestResult {
    let folder = checkout().join("examples").join(example).display().to_string();
    let text = world.running.cluster.kubectl(&["kustomize", &folder])?;
    let mut objects = Objects::from_yaml(&text)?;
    let now = world.get("mcpserver", SERVER.name())?["spec"].take();
    for object in objects.iter_mut() {
        let spec = &mut object["spec"];
        if let Some(container) = spec.pointer_mut("/template/spec/containers/0") {
            container["image"] = json!(image);
        } else if spec["publicUrl"].is_string() {
            for field in ["publicUrl", "entra", "sidecar", "tracing"] {
                spec[field] = now[field].clone();
            }
            for field in ["endpoints", "logLevel"] {
                spec["server"]["azureDevOps"][field] = now["server"]["azureDevOps"][field].clone();
            }
            ensure!(
                spec["sessions"]["store"]["type"] == "Redis",
                "the example has no store"
            );
        }
    }
    objects.apply(&world.running.client).await?;
    let timeout = format!("--timeout={}s", LIMIT.as_secs());
    world.kubectl(&["rollout", "status", &format!("statefulset/{STORE}"), &timeout])?;
    world.delete_pods(SERVER)?;
    wait_available(&world.running.client, NAMESPACE_SERVERS, SERVER.name(), LIMIT).await?;
    world.wait_settled(SERVER).await.map(drop)
}
