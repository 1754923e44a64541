//! Two specs that together set every field, and the proof that no field is left out of the golden files.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::api::crd;
use crate::api::v1alpha1::McpServer;
use crate::controller::children::{Built, Children, build};
use crate::controller::dereference::cluster_state::ClusterState;
use crate::controller::plan::{KeyringPlan, Plan};
use crate::controller::validate::{Defaults, validate};
use crate::testing::{defaults, fresh, server, shared};

/// The built-in server, and every field beside it.
pub(super) const AZURE_DEVOPS: &str = include_str!("everything/azure-devops.yaml");

/// A server from an image, and the fields that a union keeps out of the other spec.
pub(super) const CONTAINER: &str = include_str!("everything/container.yaml");

/// Builds the children of an object in an installation that allows what it names, and whose references exist.
pub(super) fn children(server: &McpServer) -> Children<Built> {
    let plan = plan(server);
    let fresh = match plan.keyring {
        KeyringPlan::Given(_) => None,
        KeyringPlan::Create | KeyringPlan::Keep { .. } | KeyringPlan::Adopt { .. } => Some(fresh()),
    };
    build(&plan, fresh).unwrap()
}

fn plan(server: &McpServer) -> Plan {
    let authorities = |key: &str| -> Option<ConfigMap> {
        let data = json!({"data": {key: "-----BEGIN CERTIFICATE-----"}});
        serde_json::from_value(data).unwrap()
    };
    let found = ClusterState {
        certificate_authority: authorities("entra.pem"),
        store_certificate_authority: authorities("redis.pem"),
        ..shared(server)
    };
    let mut defaults: Defaults = defaults();
    let hosts = [
        "core.test.example",
        "release.test.example",
        "identity.test.example",
    ];
    defaults
        .allowed
        .azure_dev_ops_hosts
        .extend(hosts.map(str::to_owned));
    validate(server, &found, &defaults).unwrap()
}

/// Returns the values that an object has at a path. `[]` stands for each entry of a list or map.
fn values<'a>(object: &'a Value, path: &[&str]) -> Vec<&'a Value> {
    let [field, rest @ ..] = path else {
        return vec![object];
    };
    let children: Vec<&Value> = match (*field, object) {
        ("[]", Value::Array(entries)) => entries.iter().collect(),
        ("[]", Value::Object(entries)) => entries.values().collect(),
        (field, object) => object.get(field).into_iter().collect(),
    };
    children
        .into_iter()
        .flat_map(|child| values(child, rest))
        .collect()
}

/// Adds the paths of the fields without fields of their own, and their defaults.
fn leaves(schema: &Value, path: &[&str], found: &mut Vec<(String, Value)>) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut children: Vec<(&str, &Value)> = properties.map(|(name, child)| (name.as_str(), child)).collect();
    for entries in ["items", "additionalProperties"] {
        children.extend(
            schema
                .get(entries)
                .filter(|child| child.is_object())
                .map(|child| ("[]", child)),
        );
    }
    if children.is_empty() {
        found.push((path.join("."), schema.get("default").cloned().unwrap_or_default()));
    }
    for (name, child) in children {
        leaves(child, &[path, &[name]].concat(), found);
    }
}

#[test]
fn every_field_of_the_schema_has_another_value_than_its_default_in_an_input_of_the_golden_files() {
    let crd = serde_json::to_value(crd::mcp_server()).unwrap();
    let schema = crd
        .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
        .unwrap();
    let mut fields = Vec::new();
    leaves(schema, &[], &mut fields);
    assert!(fields.len() > 150, "only {} fields", fields.len());
    let inputs = super::golden_inputs().map(|(_, server)| json!(server.spec));
    let is_set = |path: &str, default: &Value| {
        let path: Vec<&str> = path.split('.').collect();
        inputs
            .iter()
            .any(|input| values(input, &path).into_iter().any(|value| value != default))
    };
    let missing: Vec<&String> = fields
        .iter()
        .filter(|(path, default)| !is_set(path, default))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(
        missing,
        Vec::<&String>::new(),
        "set them in children/tests/everything/"
    );
}

#[test]
fn the_two_specs_are_read_as_they_are_written() {
    for manifest in [AZURE_DEVOPS, CONTAINER] {
        let written: Value = serde_yaml::from_str(manifest).unwrap();
        let read = json!(server(manifest).spec);
        let mut fields = Vec::new();
        members(&written["spec"], &mut Vec::new(), &mut fields);
        for (path, value) in fields {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            assert!(
                values(&read, &path).contains(&&value),
                "{} is not {value}",
                path.join(".")
            );
        }
    }
}

/// Adds each value of an object with its path.
fn members(object: &Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, Value)>) {
    let children: Vec<(String, &Value)> = match object {
        Value::Object(members) => members
            .iter()
            .map(|(name, child)| (name.clone(), child))
            .collect(),
        Value::Array(entries) => entries.iter().map(|child| ("[]".to_owned(), child)).collect(),
        value => {
            found.push((path.clone(), value.clone()));
            return;
        }
    };
    for (name, child) in children {
        path.push(name);
        members(child, path, found);
        path.pop();
    }
}
