//! Restarts of the containers of a Pod.

use behalf_demo::environment::Server;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::credentials::pods_of_object;
use crate::ensure;
use crate::world::{TestResult, World};

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    let all = status.flat_map(|status| [&status.init_container_statuses, &status.container_statuses]);
    all.flatten().flatten()
}

/// Counts the restarts of a Pod's containers, the sidecar among them.
pub(crate) fn restarts(pod: &Pod) -> i32 {
    containers(pod).map(|container| container.restart_count).sum()
}

/// Describes the last end of each restarted container of a Pod: name, reason, exit code and time.
fn last_ends(pod: &Pod) -> Vec<String> {
    let ends = containers(pod).filter_map(|container| {
        let end = container.last_state.as_ref()?.terminated.as_ref()?;
        let reason = end.reason.as_deref().unwrap_or("no reason");
        let at = end.finished_at.as_ref().map(|time| time.0.to_string());
        Some(format!(
            "{}: {reason}, exit code {}, at {at:?}",
            container.name, end.exit_code
        ))
    });
    ends.collect()
}

/// Runs `work`. Fails also if the server has other Pods afterwards, or one of their containers restarted.
pub(crate) async fn restarting_nothing(
    world: &World,
    server: Server,
    work: impl AsyncFnOnce() -> TestResult,
) -> TestResult {
    restarting_nothing_of(world, server.name(), work).await
}

/// As [`restarting_nothing`], for the Pods of the object with this name.
pub(crate) async fn restarting_nothing_of(
    world: &World,
    name: &str,
    work: impl AsyncFnOnce() -> TestResult,
) -> TestResult {
    let counted = |pods: &[Pod]| -> Vec<_> {
        let each = pods.iter().map(|pod| (pod.metadata.uid.clone(), restarts(pod)));
        each.collect()
    };
    let before = counted(&pods_of_object(world, name).await?);
    let worked = work().await;
    let pods = pods_of_object(world, name).await?;
    let (after, ends): (_, Vec<_>) = (counted(&pods), pods.iter().flat_map(last_ends).collect());
    ensure!(
        !before.is_empty() && after == before,
        "the Pods of {} and their restarts were {before:?} and are {after:?}; the last ends: {ends:?}; the test: {worked:?}",
        name,
    );
    worked
}
