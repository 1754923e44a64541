//! Tests what the documentation tells readers to give to the charts, and its objects of other systems' kinds. The operator's own
//! tests read the `McpServers`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use behalf_local_cluster::files::checkout;
use behalf_tests::{commands, published_crds};
use k8s_openapi::api::networking::v1::Ingress;
use serde_json::Value;

use crate::render::render;

/// Kinds whose schema is not at hand: the Application Gateway for Containers and the External Secrets operator have them.
const WITHOUT_SCHEMA: [&str; 2] = ["HealthCheckPolicy", "ExternalSecret"];

/// The pages, as paths in the checkout.
fn pages() -> Vec<String> {
    let folders = ["docs", "charts/behalf", "charts/behalf-crds", "."];
    let names = folders.into_iter().flat_map(|folder| {
        let entries = std::fs::read_dir(checkout().join(folder)).unwrap();
        entries.map(move |entry| format!("{folder}/{}", entry.unwrap().file_name().into_string().unwrap()))
    });
    let is_page = |name: &String| {
        Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "md")
    };
    names.filter(is_page).collect()
}

/// The documents in the blocks of YAML of all pages, each with its page.
fn documents() -> Vec<(String, Value)> {
    let documents_of = |page: String| {
        let text = std::fs::read_to_string(checkout().join(&page)).unwrap();
        let blocks = text.split("\n```yaml\n").skip(1);
        let texts = blocks.flat_map(|block| block.split_once("\n```").unwrap().0.split("\n---\n"));
        let documents =
            texts.map(|text| serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{page}: {error}")));
        documents
            .map(|document| (page.clone(), document))
            .collect::<Vec<_>>()
    };
    pages().into_iter().flat_map(documents_of).collect()
}

/// Merges the members of `patch` into `target`, as RFC 7396 does without nulls.
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, member) in patch {
                merge(target.entry(name).or_insert(Value::Null), member);
            }
        }
        (target, patch) => *target = patch,
    }
}

/// Returns what a schema of a CRD does not accept: the path of a member that is unknown, absent or has another type or value.
fn refused(value: &Value, schema: &Value, path: &str) -> Option<String> {
    let is_of_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        _ => true,
    };
    let is_listed = schema["enum"].as_array().is_none_or(|list| list.contains(value));
    let required = schema["required"].as_array().into_iter().flatten();
    let has_required = required
        .filter_map(Value::as_str)
        .all(|name| value.get(name).is_some());
    if !(is_of_type && is_listed && has_required) {
        return Some(path.to_owned());
    }
    let members = value
        .as_object()
        .into_iter()
        .flatten()
        .find_map(|(name, member)| {
            let path = format!("{path}/{name}");
            let known = schema["properties"]
                .get(name)
                .or_else(|| schema.get("additionalProperties"));
            match known {
                Some(schema) => refused(member, schema, &path),
                // The schema of the metadata of an object is only that it is one.
                None if schema["properties"].is_object() => Some(path),
                None => None,
            }
        });
    let mut items = value.as_array().into_iter().flatten().enumerate();
    members.or_else(|| {
        items.find_map(|(number, item)| refused(item, &schema["items"], &format!("{path}/{number}")))
    })
}

/// The first path at which a Gateway is not of its kind.
pub(crate) fn refused_gateway(gateway: &Value) -> Option<String> {
    let crd = std::fs::read_to_string(published_crds::gateway_crd().unwrap()).unwrap();
    let crd: Value = serde_yaml::from_str(&crd).unwrap();
    let versions = crd["spec"]["versions"].as_array().unwrap();
    let schema = versions.iter().find(|version| version["name"] == "v1").unwrap();
    refused(gateway, &schema["schema"]["openAPIV3Schema"], "")
}

fn check_gateway(gateway: &Value) {
    assert_eq!(refused_gateway(gateway), None, "{gateway}");
    // The check notices an unknown field, and a value that is not in a list.
    let mut wrong = gateway.clone();
    wrong["spec"]["listeners"][0]["hostName"] = "mcp.contoso.example".into();
    assert_eq!(
        refused_gateway(&wrong).as_deref(),
        Some("/spec/listeners/0/hostName")
    );
    let mut wrong = gateway.clone();
    let from = "/spec/listeners/0/allowedRoutes/namespaces/from";
    *wrong.pointer_mut(from).unwrap() = "Everywhere".into();
    assert_eq!(refused_gateway(&wrong).as_deref(), Some(from));
}

#[test]
fn the_objects_of_the_documentation_are_of_their_kinds() {
    let mut kinds = BTreeSet::new();
    let mut gateway = Value::Null;
    for (page, document) in documents() {
        let kind = document["kind"].as_str().unwrap_or_default();
        match kind {
            "McpServer" => {}
            "Gateway" => {
                check_gateway(&document);
                gateway = document.clone();
            }
            "Ingress" => {
                let ingress: Ingress = serde_json::from_value(document.clone()).unwrap();
                let mut read = serde_json::to_value(ingress).unwrap();
                let once = read.clone();
                merge(&mut read, document.clone());
                assert_eq!(read, once, "{page} has fields that an Ingress lacks");
            }
            "" if !document["spec"]["gatewayClassName"].is_null() => {
                assert!(gateway.is_object(), "{page}: the Gateway comes first");
                let mut changed = gateway.clone();
                merge(&mut changed, document.clone());
                check_gateway(&changed);
            }
            "" => continue,
            kind => assert!(
                WITHOUT_SCHEMA.contains(&kind),
                "{page}: no test knows the kind {kind}"
            ),
        }
        for member in ["apiVersion", "kind"].iter().filter(|_| !kind.is_empty()) {
            assert!(document[member].is_string(), "{page}: {document}");
        }
        kinds.insert(kind.to_owned());
    }
    for kind in ["McpServer", "Gateway", "Ingress"].iter().chain(&WITHOUT_SCHEMA) {
        assert!(kinds.contains(*kind), "no page has a {kind}");
    }
}

#[test]
fn the_charts_accept_the_values_of_the_documentation() {
    let mut rendered = 0;
    for (page, document) in documents() {
        let is_of_the_chart = document["kind"].is_null() && document["spec"].is_null();
        if !is_of_the_chart {
            continue;
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(document.to_string().as_bytes()).unwrap();
        render(&[&format!("@{}", file.path().display())]).unwrap_or_else(|error| panic!("{page}: {error}"));
        rendered += 1;
    }
    assert!(rendered >= 1, "the pages have {rendered} files of values");
}

#[test]
fn the_charts_accept_the_values_in_the_commands_of_the_documentation() {
    let mut rendered = 0;
    for page in pages() {
        for block in commands::blocks(&page).unwrap() {
            let script = block.script.replace("\\\n", " ");
            for command in script.lines().filter(|line| line.contains(" charts/behalf ")) {
                let words: Vec<&str> = command.split_whitespace().collect();
                let pairs = words.windows(2).filter(|pair| pair[0] == "--set");
                let values: Vec<&str> = pairs.map(|pair| pair[1].trim_matches('\'')).collect();
                if values.is_empty() {
                    continue;
                }
                render(&values).unwrap_or_else(|error| panic!("{page}:{}: {error}", block.line));
                rendered += 1;
            }
        }
    }
    assert!(rendered >= 3, "the pages have {rendered} commands with values");
}
