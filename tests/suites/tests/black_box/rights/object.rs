//! An `McpServer` in a namespace of its own, which an operator process serves.

use std::time::Duration;

use behalf_demo::environment::Objects;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::ensure;
use crate::world::{TestResult, World};

/// Maximum time until the status says something.
const LIMIT: Duration = Duration::from_secs(90);

/// The name of the object.
pub(super) const NAME: &str = "one";

/// The object and its namespace.
pub(super) struct Object<'w> {
    pub(super) world: &'w World,
    pub(super) namespace: &'static str,
    api: Api<DynamicObject>,
}

/// One condition: status, reason and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
}

impl<'w> Object<'w> {
    /// Applies a suspended object with further fields of its spec.
    pub(super) async fn apply(world: &'w World, namespace: &'static str, fields: &Value) -> TestResult<Self> {
        let mut spec = json!({
            "publicUrl": format!("https://{namespace}.example"),
            "suspend": true,
            "entra": {
                "tenantId": "11111111-1111-4111-8111-111111111111",
                "clientId": "22222222-2222-4222-8222-222222222222",
            },
            "server": {"azureDevOps": {"organization": "contoso"}},
        });
        for (name, value) in fields.as_object().into_iter().flatten() {
            spec[name] = value.clone();
        }
        let mut objects = Objects::default();
        objects.add(json!({
            "apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer",
            "metadata": {"name": NAME, "namespace": namespace}, "spec": spec,
        }));
        objects.apply(&world.running.client).await?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("behalf.dev", "v1alpha1", "McpServer"));
        let api = Api::namespaced_with(world.running.client.clone(), namespace, &resource);
        Ok(Self {
            world,
            namespace,
            api,
        })
    }

    /// Merges a patch into the spec.
    pub(super) async fn edit(&self, spec: &Value) -> TestResult {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.api.patch(NAME, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Runs kubectl in the namespace.
    pub(super) fn kubectl(&self, arguments: &[&str]) -> TestResult<String> {
        let namespace = ["--namespace", self.namespace];
        Ok(self
            .world
            .running
            .cluster
            .kubectl(&[&namespace[..], arguments].concat())?)
    }

    /// Creates an object from its manifest, which names its namespace if it has one.
    pub(super) fn create(&self, object: &Value) -> TestResult {
        let arguments = ["create", "--filename", "-"];
        self.world
            .running
            .cluster
            .kubectl_with(&arguments, &object.to_string())?;
        Ok(())
    }

    /// Waits until a condition of the present generation is as wanted. `None` is a condition that does not exist.
    pub(super) async fn wait(
        &self,
        kind: &str,
        wanted: impl Fn(Option<&Condition>) -> bool,
    ) -> TestResult<Option<Condition>> {
        let end = Instant::now() + LIMIT;
        loop {
            let object = self.api.get(NAME).await?;
            let status = &object.data["status"];
            let all = status["conditions"].as_array().into_iter().flatten();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let found = all.into_iter().find(|condition| condition["type"] == kind);
            let condition = found.map(|condition| Condition {
                status: text(&condition["status"]),
                reason: text(&condition["reason"]),
                message: text(&condition["message"]),
            });
            let is_current = status["observedGeneration"].as_i64() == object.metadata.generation;
            if is_current && wanted(condition.as_ref()) {
                return Ok(condition);
            }
            ensure!(
                Instant::now() < end,
                "{}: {kind} stays {condition:?}: {status}",
                self.namespace
            );
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits for the reason of a condition.
    pub(super) async fn wait_reason(&self, kind: &str, status: &str, reason: &str) -> TestResult<Condition> {
        println!("    {}: waiting for {kind}={status} ({reason})", self.namespace);
        let is =
            |now: Option<&Condition>| now.is_some_and(|now| now.status == status && now.reason == reason);
        Ok(self.wait(kind, is).await?.ok_or("the condition is gone")?)
    }
}
