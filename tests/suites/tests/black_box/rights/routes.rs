//! `RouteReady` of an object with a route, while the Gateway API comes and its controller answers.

use std::time::Duration;

use behalf_tests::limits::restoring;
use behalf_tests::published_crds;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::object::{NAME, Object};
use super::operator_process::OperatorProcess;
use super::release::Release;
use crate::ensure;
use crate::world::{TestResult, World};

const NAMESPACE: &str = "routes";

const ROUTE: &str = "httproutes.gateway.networking.k8s.io";

/// Maximum time until something is deleted.
const DELETED: Duration = Duration::from_mins(1);

pub(super) async fn an_object_follows_its_gateway(world: &World) -> TestResult {
    let _gateway_api = world.gateway_api.lock().await;
    let folder = tempfile::tempdir()?;
    let _release = Release::apply(world, NAMESPACE, &[], |_| true).await?;
    let operator = OperatorProcess::start(
        world,
        NAMESPACE,
        folder.path(),
        "one",
        &["--namespace", "routes-elsewhere"],
    )?;
    let crd = published_crds::http_route_crd()?.display().to_string();
    let outcome = restoring(follow(world, &crd), async {
        world.running.cluster.kubectl(&[
            "delete",
            "--filename",
            &crd,
            "--ignore-not-found",
            "--wait=true",
        ])?;
        Ok(())
    })
    .await;
    let log = operator.log()?;
    outcome.map_err(|error| {
        let end: Vec<&str> = log.lines().rev().take(5).collect();
        format!(
            "{error}; the operator's log ends (newest first): {}",
            end.join("\n")
        )
        .into()
    })
}

async fn follow(world: &World, crd: &str) -> TestResult {
    let cluster = &world.running.cluster;
    let installed = cluster.kubectl(&["get", "crd", ROUTE, "--ignore-not-found", "--output", "name"])?;
    ensure!(
        installed.trim().is_empty(),
        "the Gateway API is installed already"
    );
    let parent = json!({"name": "public", "namespace": "gateways", "sectionName": "https"});
    let route = json!({"gateway": {"parentRefs": [parent]}});
    let object = Object::apply(world, NAMESPACE, &json!({"route": route})).await?;
    object
        .wait_reason("RouteReady", "False", "GatewayApiNotInstalled")
        .await?;

    cluster.kubectl(&["apply", "--server-side", "--filename", crd])?;
    object
        .wait_reason("RouteReady", "Unknown", "RoutePending")
        .await?;
    let made: Value = serde_json::from_str(&object.kubectl(&["get", ROUTE, NAME, "--output", "json"])?)?;
    ensure!(
        made["spec"]["hostnames"] == json!([format!("{NAMESPACE}.example")]),
        "the route is {made}"
    );

    says(&object, &made, &parent, "False", "NotAllowedByListeners")?;
    let refused = object
        .wait_reason("RouteReady", "False", "NotAllowedByListeners")
        .await?;
    ensure!(
        refused
            .message
            .contains("Gateway gateways/public, listener https")
            && refused.message.contains("nobody may"),
        "the message is {:?}",
        refused.message
    );
    says(&object, &made, &parent, "True", "Accepted")?;
    object.wait_reason("RouteReady", "True", "RouteAccepted").await?;

    object.edit(&json!({"route": null})).await?;
    object.wait("RouteReady", |now| now.is_none()).await?;
    is_gone(&object).await?;

    // The garbage collector deletes the route with its object.
    object.edit(&json!({"route": route})).await?;
    object
        .wait_reason("RouteReady", "Unknown", "RoutePending")
        .await?;
    object.kubectl(&["get", ROUTE, NAME])?;
    object.kubectl(&["delete", "mcpserver", NAME])?;
    is_gone(&object).await
}

/// Writes the route's status as the controller of the Gateway does.
fn says(object: &Object<'_>, route: &Value, parent: &Value, accepted: &str, reason: &str) -> TestResult {
    let patch = gateway_status(route, parent, accepted, reason);
    object.kubectl(&[
        "patch",
        ROUTE,
        NAME,
        "--subresource=status",
        "--type=merge",
        "--patch",
        &patch.to_string(),
    ])?;
    Ok(())
}

/// A merge patch with what the controller of a Gateway says of a route.
pub(crate) fn gateway_status(route: &Value, parent: &Value, accepted: &str, reason: &str) -> Value {
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": "nobody may",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": route["metadata"]["generation"],
        })
    };
    let mut parent = parent.clone();
    parent["group"] = json!("gateway.networking.k8s.io");
    parent["kind"] = json!("Gateway");
    json!({"status": {"parents": [{
        "controllerName": "example.com/gateway", "parentRef": parent,
        "conditions": [
            condition("Accepted", accepted, reason),
            condition("ResolvedRefs", "True", "ResolvedRefs"),
        ],
    }]}})
}

async fn is_gone(object: &Object<'_>) -> TestResult {
    let end = Instant::now() + DELETED;
    loop {
        let left = object.kubectl(&["get", ROUTE, "--output", "name"])?;
        if left.trim().is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{left} stays");
        sleep(Duration::from_millis(300)).await;
    }
}
