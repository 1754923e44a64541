//! Replicas are added and removed through the scale subresource. `gateway` has the tests with three replicas.

use std::time::{Duration, Instant};

use behalf_demo::environment::{NAMESPACE_SERVERS, Server};
use behalf_simulators::people::BEN;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::ensure;
use crate::faults::call;
use crate::world::{TestResult, World};

crate::tests![Article: [the_scale_subresource_sets_the_number_of_pods]];

/// Maximum time until there are as many Pods as wanted.
const LIMIT: Duration = Duration::from_mins(3);

/// A `HorizontalPodAutoscaler` reads and writes the same subresource.
async fn the_scale_subresource_sets_the_number_of_pods(world: &World) -> TestResult {
    let server = Server::Article;
    world.wait_ready(server).await?;
    let token = world.access_token(server, &BEN).await?;
    for replicas in [3, 2] {
        let wanted = format!("--replicas={replicas}");
        world.kubectl(&["scale", "mcpserver", server.name(), &wanted])?;
        wait_pods(world, server, replicas).await?;
        let status = call(world, server, &token).await?.status();
        ensure!(
            status == StatusCode::OK,
            "with {replicas} Pods a call was answered {status}"
        );
    }
    world.wait_settled(server).await.map(drop)
}

/// Waits until the scale subresource reports this number of Pods and its selector finds as many.
async fn wait_pods(world: &World, server: Server, replicas: usize) -> TestResult {
    let began = Instant::now();
    loop {
        let path = format!(
            "/apis/behalf.dev/v1alpha1/namespaces/{NAMESPACE_SERVERS}/mcpservers/{}/scale",
            server.name()
        );
        let scale: Value = serde_json::from_str(&world.kubectl(&["get", "--raw", &path])?)?;
        let selector = scale
            .pointer("/status/selector")
            .and_then(Value::as_str)
            .unwrap_or_default();
        ensure!(
            !selector.is_empty(),
            "the scale subresource has no selector: {scale}"
        );
        let pods = world.kubectl(&["get", "pods", "--selector", selector, "--output", "name"])?;
        if scale.pointer("/status/replicas") == Some(&json!(replicas)) && pods.lines().count() == replicas {
            return Ok(());
        }
        ensure!(
            began.elapsed() < LIMIT,
            "with {replicas} wanted the scale subresource said {scale}, and the Pods were {pods}"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
