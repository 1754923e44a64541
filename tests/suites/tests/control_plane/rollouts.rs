//! An upgrade of the operator with `maxRollouts` in percent: of twenty objects two replace their Pods at a time.

use std::time::Duration;

use behalf_tests::rollouts::Rollouts;
use futures::TryStreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use crate::pods;
use crate::world::{NAMESPACE, PRESENT, World};

/// Number of objects. A half of their Deployments is replaced with Recreate, the other half with a rolling update.
const OBJECTS: usize = 20;

/// The limit under test, and what it is of these objects.
const MAX_ROLLOUTS: &str = "--max-rollouts=10%";
const AT_A_TIME: usize = 2;

/// Maximum time of all rollouts.
const LIMIT: Duration = Duration::from_mins(2);

/// Time between two requests to reconcile an object. By itself one that waits looks again after 15 s.
const REQUESTS: Duration = Duration::from_secs(1);

#[test]
fn an_upgrade_replaces_the_pods_of_ten_percent_of_twenty_objects_at_a_time() {
    let image = |tag: &str| format!("registry.contoso.example/behalf/auth-sidecar:{tag}");
    let options = |tag: &str| format!("--sidecar-image={}", image(tag));
    let mut world = World::start(&[MAX_ROLLOUTS, &options("present")]);
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(world.client());
    runtime.spawn(pods::run(client.clone()));
    let objects: Vec<Value> = (0..OBJECTS).map(object).collect();
    world.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}));
    world.until("every object is available", || all_are_available(&world));

    let rollouts = runtime.block_on(async {
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
        let before = deployments.list(&ListParams::default()).await.unwrap();
        assert_eq!(before.items.len(), OBJECTS);
        let rollouts = Rollouts::begin(&image("next"), &before.items).unwrap();
        world.replace_operator(&[MAX_ROLLOUTS, &options("next")]);
        let version = before.metadata.resource_version.unwrap_or_default();
        let ended = tokio::select! {
            ended = timeout(LIMIT, follow(&deployments, &version, rollouts)) => ended,
            () = request_reconciles(client) => unreachable!("requests do not end"),
        };
        ended.unwrap_or_else(|_| {
            panic!(
                "not every object has its new Pods; the operator's log:\n{}",
                world.log()
            )
        })
    });
    assert_eq!(
        rollouts.largest().len(),
        AT_A_TIME,
        "at the same time rolled out {:?}; they ended in the order {:?}",
        rollouts.largest(),
        rollouts.ended()
    );
    world.until("every object is available and none waits", || {
        all_are_available(&world)
    });
}

/// Follows the Deployments until each has ended its rollout. One watch has the changes of all of them in their order.
async fn follow(deployments: &Api<Deployment>, version: &str, mut rollouts: Rollouts) -> Rollouts {
    let stream = deployments.watch(&WatchParams::default(), version).await.unwrap();
    let mut events = std::pin::pin!(stream);
    while !rollouts.have_ended() {
        match events.try_next().await.unwrap() {
            Some(WatchEvent::Added(now) | WatchEvent::Modified(now)) => rollouts.see(&now).unwrap(),
            Some(WatchEvent::Bookmark(_)) => {}
            other => panic!("the watch of the Deployments: {other:?}"),
        }
    }
    rollouts
}

/// Requests reconciles of all objects again and again, so that each free slot is taken at once.
async fn request_reconciles(client: Client) {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("behalf.dev", PRESENT, "McpServer"));
    let servers: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, &kind);
    for request in 0.. {
        for number in 0..OBJECTS {
            let patch =
                json!({"metadata": {"annotations": {"behalf.dev/reconcile-at": request.to_string()}}});
            let patch = Patch::Merge(patch);
            servers
                .patch(&name(number), &PatchParams::default(), &patch)
                .await
                .unwrap();
        }
        sleep(REQUESTS).await;
    }
}

fn all_are_available(world: &World) -> bool {
    let list = world.get(PRESENT, "", "");
    let is_available = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array();
        let is = |kind: &str| {
            let mut all = conditions.into_iter().flatten();
            all.any(|condition| condition["type"] == kind && condition["status"] == "True")
        };
        is("Available") && !is("UpdatePending")
    };
    let items = list["items"].as_array().unwrap();
    items.len() == OBJECTS && items.iter().all(is_available)
}

fn name(number: usize) -> String {
    format!("server-{number:02}")
}

fn object(number: usize) -> Value {
    let name = name(number);
    let mut object = json!({
        "apiVersion": format!("behalf.dev/{PRESENT}"), "kind": "McpServer",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "publicUrl": format!("https://{name}.contoso.example"),
            "entra": {
                "tenantId": "11111111-1111-4111-8111-111111111111",
                "clientId": "22222222-2222-4222-8222-222222222222",
            },
            "server": {"azureDevOps": {"organization": "contoso"}},
        },
    });
    if number.is_multiple_of(2) {
        // No Pod runs that would look for it.
        object["spec"]["sessions"] = json!({"store": {"type": "Redis", "redis": {
            "endpoints": ["redis://redis.mcp.svc:6379"], "auth": {"type": "None"},
        }}});
    }
    object
}
