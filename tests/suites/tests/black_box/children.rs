//! The operator's children beside objects of others: an object that has a child's name, and the managers of the fields.

use std::time::Duration;

use behalf_demo::environment::{Conditions, Server, create_federated_credential};
use behalf_tests::limits::{LIMIT, restoring_within};
use serde_json::{Value, json};

use crate::ensure;
use crate::scratch_server::{self, NAME, PORT};
use crate::world::{TestResult, World};

crate::tests![
    Everything: [each_child_of_a_live_object_has_one_field_manager],
    Scratch: [a_foreign_object_with_the_name_of_a_child_stays_until_somebody_deletes_it],
];

/// The operator's field manager.
const OPERATOR: &str = "behalf-operator";

/// The kinds of the children of both servers.
const KINDS: [&str; 7] = [
    "serviceaccount",
    "secret",
    "configmap",
    "networkpolicy",
    "poddisruptionbudget",
    "service",
    "deployment",
];

/// The kinds that only an object with two replicas has.
const OF_TWO_REPLICAS: [&str; 1] = ["poddisruptionbudget"];

async fn each_child_of_a_live_object_has_one_field_manager(world: &World) -> TestResult {
    for server in Server::ALL {
        world.wait_settled(server).await?;
        one_manager(world, server.name(), server == Server::Article)?;
    }
    Ok(())
}

/// Fails unless the operator manages each child's fields with one entry, and others only the status.
fn one_manager(world: &World, name: &str, has_two_replicas: bool) -> TestResult {
    let label = format!("behalf.dev/mcp-server={name}");
    for kind in KINDS {
        let arguments = [
            "get",
            kind,
            "--selector",
            &label,
            "--show-managed-fields",
            "--output=json",
        ];
        let list: Value = serde_json::from_str(&world.kubectl(&arguments)?)?;
        let owned = list["items"].as_array().into_iter().flatten().filter(|child| {
            let owner = &child["metadata"]["ownerReferences"][0];
            owner["kind"] == "McpServer" && owner["name"] == name
        });
        let mut count = 0;
        for child in owned {
            count += 1;
            let entries = &child["metadata"]["managedFields"];
            let all = entries.as_array().ok_or("an object without managers")?;
            let (own, others): (Vec<_>, Vec<_>) = all
                .iter()
                .partition(|entry| entry["manager"] == OPERATOR && entry["subresource"].is_null());
            ensure!(
                own.len() == 1 && others.iter().all(|entry| is_observation(&entry["fieldsV1"])),
                "{kind} {} of {name} has these managers: {entries:#}",
                child["metadata"]["name"]
            );
        }
        ensure!(
            count > 0 || OF_TWO_REPLICAS.contains(&kind) && !has_two_replicas,
            "{name} has no {kind}"
        );
    }
    Ok(())
}

/// Whether these fields are what a controller of Kubernetes observed: the status, and the number of a Deployment's revision.
fn is_observation(fields: &Value) -> bool {
    let names = |value: &Value| -> Vec<String> {
        let fields = value.as_object().into_iter().flatten();
        fields.map(|(name, _)| name.clone()).collect()
    };
    names(fields).iter().all(|field| match field.as_str() {
        "f:status" => true,
        "f:metadata" => {
            names(&fields[field]) == ["f:annotations"]
                && names(&fields[field]["f:annotations"])
                    .iter()
                    .all(|key| key == "." || key == "f:deployment.kubernetes.io/revision")
        }
        _ => false,
    })
}

/// The label of the foreign objects.
const FOREIGN: (&str, &str) = ("test.example/foreign", "yes");

/// Two reconciles of an object that is not settled are at most 18 s apart.
const A_RECONCILE: Duration = Duration::from_secs(20);

async fn a_foreign_object_with_the_name_of_a_child_stays_until_somebody_deletes_it(
    world: &World,
) -> TestResult {
    let work = async {
        let server = world.get("mcpserver", Server::Quickstart.name())?["spec"]["server"].clone();
        let address = format!("http://localhost:{PORT}");
        let object = scratch_server::object(world, &address, &json!({"server": server}))?;
        let service = Foreign::apply(
            world,
            "Service",
            NAME,
            &json!({"spec": {"selector": {"app": "foreign"}, "ports": [{"port": 80}]}}),
        )?;
        world.apply(&object)?;
        service.is_in_the_way(world).await?;
        tokio::time::sleep(A_RECONCILE).await;
        service.is_as_before(world)?;
        // Its name contains a digest of its content.
        let label = format!("behalf.dev/mcp-server={NAME}");
        let made = world.kubectl(&["get", "configmap", "--selector", &label, "--output=name"])?;
        let name = made
            .trim()
            .strip_prefix("configmap/")
            .ok_or("there is no ConfigMap")?;
        scratch_server::remove(world).await?;

        let config_map = Foreign::apply(
            world,
            "ConfigMap",
            name,
            &json!({"data": {"sidecar.yaml": "foreign"}}),
        )?;
        world.apply(&object)?;
        config_map.is_in_the_way(world).await?;
        tokio::time::sleep(A_RECONCILE).await;
        config_map.is_as_before(world)?;
        config_map.delete(world)?;
        service.is_in_the_way(world).await?;
        service.is_as_before(world)?;
        service.delete(world)?;
        let told = |now: &Conditions| {
            now.is("Accepted", "True") && now.status.pointer("/federation/redirectUri").is_some()
        };
        let accepted = scratch_server::wait(world, "Accepted=True", told).await?;
        create_federated_credential(&world.entra, NAME, &accepted).await?;
        scratch_server::wait(world, "Ready", |now| now.is("Ready", "True")).await?;
        // A change replaces the entries of the creates.
        let patch =
            json!({"spec": {"sessions": {"refreshGrace": "90s"}, "pod": {"annotations": {"a": "b"}}}})
                .to_string();
        world.kubectl(&["patch", "mcpserver", NAME, "--type=merge", "--patch", &patch])?;
        let changed = |now: &Conditions| now.is("Ready", "True") && now.status["verifiedGeneration"] == 2;
        scratch_server::wait(world, "Ready with the change", changed).await?;
        one_manager(world, NAME, false)
    };
    let restore = async {
        let label = format!("{}={}", FOREIGN.0, FOREIGN.1);
        let deleted = world.kubectl(&["delete", "service,configmap", "--selector", &label]);
        scratch_server::remove(world).await?;
        deleted.map(drop)
    };
    restoring_within(LIMIT, work, restore).await
}

/// An object that the operator did not make.
struct Foreign {
    kind: &'static str,
    name: String,
    stored: Value,
}

impl Foreign {
    fn apply(world: &World, kind: &'static str, name: &str, content: &Value) -> TestResult<Self> {
        let mut object = json!({
            "apiVersion": "v1", "kind": kind,
            "metadata": {"name": name, "labels": {FOREIGN.0: FOREIGN.1}},
        });
        for (key, value) in content.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        world.apply(&object)?;
        Ok(Self {
            kind,
            name: name.to_owned(),
            stored: world.get(kind, name)?,
        })
    }

    /// Waits until the object of the test says so.
    async fn is_in_the_way(&self, world: &World) -> TestResult {
        let named = format!(
            "{} {} exists and does not belong to this object",
            self.kind, self.name
        );
        let is_told = |now: &Conditions| {
            now.get("Accepted").is_some_and(|accepted| {
                accepted.status == "False"
                    && accepted.reason == "NameTaken"
                    && accepted.message.contains(&named)
            })
        };
        scratch_server::wait(world, &format!("NameTaken by {}", self.kind), is_told).await?;
        Ok(())
    }

    /// Fails if anybody wrote it, with its content or without.
    fn is_as_before(&self, world: &World) -> TestResult {
        let now = world.get(self.kind, &self.name)?;
        ensure!(now == self.stored, "{} was changed: {now:#}", self.kind);
        Ok(())
    }

    fn delete(&self, world: &World) -> TestResult {
        world.kubectl(&["delete", self.kind, &self.name])?;
        Ok(())
    }
}
