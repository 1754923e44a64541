//! A second installation of the operator in a namespace of its own, for tests that change the settings of an installation.

use std::time::Duration;

use behalf_demo::environment::{
    Conditions, NAMESPACE_OPERATOR, Objects, create_federated_credential, wait_available, wait_in,
};
use behalf_local_cluster::files;
use behalf_simulators::entra;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{TestResult, World};

/// Maximum time until the operator is available, and until an object has wanted conditions.
const LIMIT: Duration = Duration::from_mins(2);

/// An installation that serves its own namespace. Dropping it removes it and the namespace.
pub(crate) struct OwnRelease<'w> {
    world: &'w World,
    namespace: &'static str,
    folder: TempDir,
}

impl<'w> OwnRelease<'w> {
    /// Installs the chart with the values of the suite's installation, and with these in their place.
    pub(crate) async fn install(
        world: &'w World,
        namespace: &'static str,
        values: &Value,
    ) -> TestResult<Self> {
        let mut objects = Objects::default();
        objects.add_namespace(namespace);
        objects.apply(&world.running.client).await?;
        let release = Self {
            world,
            namespace,
            folder: TempDir::new()?,
        };
        let of_suite = ["get", "values", "behalf", "--output", "json"];
        let namespaced = ["--namespace", NAMESPACE_OPERATOR];
        let of_suite = world
            .running
            .cluster
            .helm(&[&of_suite[..], &namespaced].concat())?;
        let mut all: Value = serde_json::from_str(&of_suite)?;
        all["replicas"] = json!(1);
        all["watchNamespaces"] = json!([]);
        all["logLevel"] = json!("Info");
        release.upgrade(&all, values).await?;
        Ok(release)
    }

    /// Changes values of the installation, and waits until the new operator is available.
    pub(crate) async fn change(&self, values: &Value) -> TestResult {
        self.upgrade(&json!({}), values).await
    }

    async fn upgrade(&self, base: &Value, changes: &Value) -> TestResult {
        let file = |name: &str, values: &Value| -> TestResult<String> {
            let path = self.folder.path().join(name);
            std::fs::write(&path, values.to_string())?;
            Ok(path.display().to_string())
        };
        let (base, changes) = (file("base.json", base)?, file("changes.json", changes)?);
        let chart = files::checkout().join("charts/behalf").display().to_string();
        self.world.running.cluster.helm(&[
            "upgrade",
            "--install",
            "behalf",
            &chart,
            "--namespace",
            self.namespace,
            "--reuse-values",
            "--values",
            &base,
            "--values",
            &changes,
        ])?;
        let client = &self.world.running.client;
        Ok(wait_available(client, self.namespace, "behalf-operator", LIMIT).await?)
    }

    /// Removes the installation and leaves the namespace.
    pub(crate) fn uninstall(&self) -> TestResult {
        let wait = ["uninstall", "behalf", "--ignore-not-found", "--wait"];
        let namespaced = ["--namespace", self.namespace];
        let cluster = &self.world.running.cluster;
        cluster.helm(&[&wait[..], &namespaced].concat())?;
        Ok(())
    }

    /// Applies objects in the namespace.
    pub(crate) async fn apply(&self, objects: impl IntoIterator<Item = Value>) -> TestResult {
        let mut all = Objects::default();
        for mut object in objects {
            object["metadata"]["namespace"] = json!(self.namespace);
            all.add(object);
        }
        Ok(all.apply(&self.world.running.client).await?)
    }

    /// Waits for conditions of an object.
    pub(crate) async fn wait(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Conditions) -> bool,
    ) -> TestResult<Conditions> {
        let namespace = self.namespace;
        let seen = |conditions: &Conditions| println!("    {namespace}/{name}: {}", conditions.summary());
        let client = &self.world.running.client;
        Ok(wait_in(client, namespace, name, what, LIMIT, seen, wanted).await?)
    }

    /// Creates the federated credential that the status of an object asks for.
    pub(crate) async fn create_credential(&self, entra: &entra::Control, name: &str) -> TestResult {
        let asks = |now: &Conditions| now.status.pointer("/federation/redirectUri").is_some();
        let conditions = self.wait(name, "status.federation", asks).await?;
        create_federated_credential(entra, name, &conditions).await?;
        Ok(())
    }
}

impl Drop for OwnRelease<'_> {
    fn drop(&mut self) {
        // First the release: its record is in the namespace.
        let uninstalled = self.uninstall();
        let delete = ["delete", "namespace", self.namespace, "--wait=false"];
        let deleted = self.world.running.cluster.kubectl(&delete).map_err(Into::into);
        for error in [uninstalled.err(), deleted.err()].into_iter().flatten() {
            println!("    {} stays: {error}", self.namespace);
        }
    }
}
