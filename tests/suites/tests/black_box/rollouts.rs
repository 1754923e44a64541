//! An upgrade of the operator replaces the Pods of a part of the objects at a time (`maxRollouts`).

use std::collections::BTreeSet;
use std::time::Duration;

use behalf_local_cluster::images::Product;
use behalf_tests::rollouts::Rollouts;
use futures::TryStreamExt as _;
use futures::future::try_join;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::ensure;
use crate::own_release::OwnRelease;
use crate::world::{TestResult, World};

crate::tests![OwnNamespaces: [an_upgrade_replaces_the_pods_of_one_object_at_a_time_with_both_strategies]];

const NAMESPACE: &str = "rollouts";

/// The limit under test, the value `maxRollouts`.
const MAX_ROLLOUTS: usize = 1;

/// The objects, and the strategies of their Deployments. With sessions in memory it is Recreate.
const OBJECTS: [(&str, &str); 4] = [
    ("memory-one", "Recreate"),
    ("redis-one", "RollingUpdate"),
    ("memory-two", "Recreate"),
    ("redis-two", "RollingUpdate"),
];

/// Maximum time of all rollouts. An object that waits looks again after 15 s.
const LIMIT: Duration = Duration::from_mins(4);

async fn an_upgrade_replaces_the_pods_of_one_object_at_a_time_with_both_strategies(
    world: &World,
) -> TestResult {
    let [_, next] = world.releases(Product::AuthSidecar)?;
    // Hosts that do not exist: these Pods ask nobody whom other tests watch. They are ready without.
    let hosts = |host: &str| json!([format!("{host}.rollouts.example")]);
    let release = OwnRelease::install(
        world,
        NAMESPACE,
        &json!({
            "maxRollouts": MAX_ROLLOUTS,
            "allowed": {"entraHosts": hosts("login"), "azureDevOpsHosts": hosts("dev")},
        }),
    )
    .await?;
    release.apply(redis(world)?).await?;
    release
        .apply(OBJECTS.map(|(name, strategy)| object(name, strategy)))
        .await?;
    for (name, _) in OBJECTS {
        release
            .wait(name, "Available", |now| now.is("Available", "True"))
            .await?;
    }

    let upgrade = json!({"images": {"sidecar": {"tag": next.tag}}});
    let image = world.running.cluster.image_reference(&next);
    let watched = async {
        timeout(LIMIT, watch(world, &image))
            .await
            .map_err(|_| format!("not every object has its new Pods after {} s", LIMIT.as_secs()))?
    };
    // The watch begins before the upgrade.
    let ((rollouts, waited), ()) = try_join(watched, release.change(&upgrade)).await?;
    println!("    order: {}", rollouts.ended().join(", "));
    ensure!(
        rollouts.largest().len() <= MAX_ROLLOUTS,
        "Deployments rolled out at the same time: {:?}",
        rollouts.largest()
    );
    ensure!(
        waited.len() >= OBJECTS.len() - 1,
        "of {} objects only {waited:?} had UpdatePending=True/RolloutWaiting",
        OBJECTS.len()
    );
    for (name, _) in OBJECTS {
        release
            .wait(name, "Available without UpdatePending", |now| {
                now.is("Available", "True") && now.get("UpdatePending").is_none()
            })
            .await?;
    }
    Ok(())
}

fn object(name: &str, strategy: &str) -> Value {
    let azure_devops = "https://dev.rollouts.example";
    let mut object = json!({
        "apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer",
        "metadata": {"name": name},
        "spec": {
            "publicUrl": format!("https://{name}.rollouts.example"),
            "entra": {
                "tenantId": "11111111-1111-4111-8111-111111111111",
                "clientId": "22222222-2222-4222-8222-222222222222",
                "authority": "https://login.rollouts.example",
            },
            "server": {"azureDevOps": {
                "organization": "contoso",
                "endpoints": {"core": azure_devops, "release": azure_devops, "identity": azure_devops},
            }},
        },
    });
    if strategy == "RollingUpdate" {
        object["spec"]["sessions"]["store"] = json!({
            "type": "Redis",
            "redis": {
                "endpoints": [format!("redis://redis.{NAMESPACE}.svc:6379")],
                "auth": {"type": "None"},
            },
        });
    }
    object
}

/// A Redis without users, with the image of the suite's own one.
fn redis(world: &World) -> TestResult<[Value; 2]> {
    let example = world.get("statefulset", "redis")?;
    let image = &example["spec"]["template"]["spec"]["containers"][0]["image"];
    ensure!(image.is_string(), "the suite's Redis has no image: {example}");
    let labels = json!({"app.kubernetes.io/name": "redis"});
    Ok([
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "redis"},
            "spec": {"selector": labels, "ports": [{"port": 6379}]},
        }),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "redis", "labels": labels},
            "spec": {
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "redis", "image": image, "command": ["redis-server"],
                    "args": ["--protected-mode no", "--save ''", "--appendonly no", "--dir /tmp"],
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }],
            },
        }),
    ])
}

/// Follows every change of the Deployments until each has ended its rollout to this image of the sidecar. One watch has the
/// changes of all of them in their order. Returns the objects that waited as well.
async fn watch(world: &World, image: &str) -> TestResult<(Rollouts, BTreeSet<String>)> {
    let client = &world.running.client;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let listed = deployments.list(&ListParams::default()).await?;
    let version = listed.metadata.resource_version.clone().unwrap_or_default();
    for (name, strategy) in OBJECTS {
        let found = listed.iter().find(|deployment| deployment.name_any() == name);
        let deployment = found.ok_or_else(|| format!("there is no Deployment {name}"))?;
        let spec = deployment.spec.as_ref();
        let type_ = spec.and_then(|spec| spec.strategy.as_ref()?.type_.as_deref());
        ensure!(
            type_ == Some(strategy),
            "Deployment {name} has the strategy {type_:?}"
        );
    }
    let is_ours = |deployment: &&Deployment| OBJECTS.iter().any(|(name, _)| deployment.name_any() == *name);
    let mut rollouts = Rollouts::begin(image, listed.iter().filter(is_ours))?;
    let mut waited = BTreeSet::new();
    let stream = deployments.watch(&WatchParams::default(), &version).await?;
    let mut events = std::pin::pin!(stream);
    while !rollouts.have_ended() {
        match events.try_next().await?.ok_or("the watch ended")? {
            WatchEvent::Added(now) | WatchEvent::Modified(now) => rollouts.see(&now)?,
            WatchEvent::Deleted(gone) => return Err(format!("{} is gone", gone.name_any()).into()),
            WatchEvent::Error(error) => return Err(format!("the watch failed: {error:?}").into()),
            WatchEvent::Bookmark(_) => {}
        }
        waited.extend(waiting(client).await?);
    }
    Ok((rollouts, waited))
}

/// The objects that wait for the rollouts of others. Each is available meanwhile.
async fn waiting(client: &kube::Client) -> TestResult<Vec<String>> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("behalf.dev", "v1alpha1", "McpServer"));
    let servers: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    let mut names = Vec::new();
    for server in servers.list(&ListParams::default()).await? {
        let conditions = server.data["status"]["conditions"].as_array();
        let condition = |kind: &str| {
            let mut all = conditions.into_iter().flatten();
            all.find(|condition| condition["type"] == kind)
        };
        let pending = condition("UpdatePending");
        if pending.is_some_and(|now| now["status"] == "True" && now["reason"] == "RolloutWaiting") {
            let name = server.name_any();
            ensure!(
                condition("Available").is_some_and(|available| available["status"] == "True"),
                "{name} waits and is not available: {conditions:?}"
            );
            names.push(name);
        }
    }
    Ok(names)
}
