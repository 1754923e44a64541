//! Two operators with one Lease: what happens to a change while the one that leads hangs or stops.

use std::time::Duration;

use behalf_demo::environment::Objects;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::operator_process::OperatorProcess;
use super::release::Release;
use crate::ensure;
use crate::world::{TestResult, World};

const NAMESPACE: &str = "take-over";

/// Maximum time of everything that is not measured.
const LIMIT: Duration = Duration::from_mins(1);

pub(super) async fn another_operator_takes_over(world: &World) -> TestResult {
    let folder = tempfile::tempdir()?;
    let _release = Release::apply(world, NAMESPACE, &[], |_| true).await?;
    let start = |name: &str| {
        let lease = [
            "--namespace",
            NAMESPACE,
            "--lease",
            "behalf-operator",
            "--pod-name",
            name,
        ];
        OperatorProcess::start(world, NAMESPACE, folder.path(), name, &lease)
    };
    let mut one = start("one")?;
    says(&one, "Operator leads").await?;
    let mut two = start("two")?;
    says(&two, "Operator stands by").await?;
    let object = Object::apply(world).await?;
    object.is_served(1).await?;

    // It hangs, as on a node that is lost: nothing gives the Lease back.
    one.signal("STOP").await?;
    let hung = Instant::now();
    object.change(2).await?;
    object.is_served(2).await?;
    let took = hung.elapsed();
    ensure!(
        took < Duration::from_secs(20),
        "the change was served after {took:?}"
    );
    one.signal("CONT").await?;
    let code = timeout(LIMIT, one.ended())
        .await
        .map_err(|_| "the first operator goes on")??;
    let log = one.log()?;
    ensure!(code == Some(1), "the first operator ended with {code:?}: {log}");
    ensure!(
        log.contains("stopped, because"),
        "the first operator does not say why it stopped: {log}"
    );

    // It stops, as in a rollout.
    let three = start("three")?;
    says(&three, "Operator stands by").await?;
    two.signal("TERM").await?;
    let stopped = Instant::now();
    object.change(3).await?;
    object.is_served(3).await?;
    let took = stopped.elapsed();
    ensure!(
        took < Duration::from_secs(10), // an expired Lease takes 12
        "the change was served after {took:?}"
    );
    let code = timeout(LIMIT, two.ended())
        .await
        .map_err(|_| "the second operator goes on")??;
    ensure!(
        code == Some(0),
        "the second operator ended with {code:?}: {}",
        two.log()?
    );
    Ok(())
}

/// Waits until the log contains this text.
async fn says(operator: &OperatorProcess, text: &str) -> TestResult {
    let end = Instant::now() + LIMIT;
    while !operator.log()?.contains(text) {
        ensure!(
            Instant::now() < end,
            "the operator does not say {text:?}: {}",
            operator.log()?
        );
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// A suspended `McpServer`, which has every child and no Pod.
struct Object(Api<DynamicObject>);

impl Object {
    async fn apply(world: &World) -> TestResult<Self> {
        let mut objects = Objects::default();
        objects.add(json!({
            "apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer",
            "metadata": {"name": "one", "namespace": NAMESPACE},
            "spec": {
                "publicUrl": "https://take-over.example",
                "suspend": true,
                "entra": {
                    "tenantId": "11111111-1111-4111-8111-111111111111",
                    "clientId": "22222222-2222-4222-8222-222222222222",
                },
                "server": {"azureDevOps": {"organization": "contoso"}},
            },
        }));
        objects.apply(&world.running.client).await?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("behalf.dev", "v1alpha1", "McpServer"));
        Ok(Self(Api::namespaced_with(
            world.running.client.clone(),
            NAMESPACE,
            &resource,
        )))
    }

    /// Makes the spec that has this generation.
    async fn change(&self, generation: i64) -> TestResult {
        let patch = json!({"spec": {"sessions": {"refreshGrace": format!("{}s", 60 + generation)}}});
        self.0
            .patch("one", &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// Waits until the status is that of this generation.
    async fn is_served(&self, generation: i64) -> TestResult {
        let end = Instant::now() + LIMIT;
        loop {
            let now = self.0.get("one").await?;
            if now.data["status"]["observedGeneration"] == json!(generation) {
                return Ok(());
            }
            ensure!(
                Instant::now() < end,
                "generation {generation} is not served: {}",
                now.data["status"]
            );
            sleep(Duration::from_millis(200)).await;
        }
    }
}
