//! Who manages the fields of the operator's children.

use behalf_demo::environment::Server;
use serde_json::Value;

use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![Everything: [each_child_of_a_live_object_has_one_field_manager]];

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
