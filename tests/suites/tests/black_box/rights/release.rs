//! The rights of a release of the chart, without its Deployment.

use behalf_demo::environment::Objects;
use serde_json::Value;

use crate::chart::render;
use crate::world::{TestResult, World};

/// The kinds of objects that grant or limit rights.
const KINDS: [&str; 7] = [
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// The applied objects of a release. Dropping this value deletes them.
pub(super) struct Release<'w> {
    world: &'w World,
    namespace: String,
    /// Kinds and names of objects outside namespaces.
    cluster_wide: Vec<(String, String)>,
}

impl<'w> Release<'w> {
    /// Creates only a namespace.
    pub(super) async fn namespace_alone(world: &'w World, namespace: &str) -> TestResult<Self> {
        Objects::default()
            .add_namespace(namespace)
            .apply(&world.running.client)
            .await?;
        Ok(Self {
            world,
            namespace: namespace.to_owned(),
            cluster_wide: Vec::new(),
        })
    }

    /// Renders the chart with these values and applies the objects that grant or limit rights. `change` may
    /// edit each object, or omit it by returning `false`.
    pub(super) async fn apply(
        world: &'w World,
        namespace: &str,
        set: &[&str],
        mut change: impl FnMut(&mut Value) -> bool,
    ) -> TestResult<Self> {
        let mut release = Self::namespace_alone(world, namespace).await?;
        let mut objects = Objects::default();
        for mut object in render(&world.running.cluster, namespace, set)? {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            let kind = text("/kind").unwrap_or_default();
            let name = text("/metadata/name").unwrap_or_default();
            let in_a_namespace = text("/metadata/namespace").is_some();
            if !KINDS.contains(&kind.as_str()) || !change(&mut object) {
                continue;
            }
            if !in_a_namespace {
                release.cluster_wide.push((kind, name));
            }
            objects.add(object);
        }
        objects.apply(&world.running.client).await?;
        Ok(release)
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let mut all = vec![("namespace".to_owned(), self.namespace.clone())];
        all.append(&mut self.cluster_wide);
        for (kind, name) in all {
            let arguments = ["delete", &kind, &name, "--ignore-not-found", "--wait=false"];
            if let Err(error) = self.world.running.cluster.kubectl(&arguments) {
                println!("    {kind} {name} stays: {error}");
            }
        }
    }
}
