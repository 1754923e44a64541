//! Tests that an installation accepts the objects and the parts of objects in the documentation.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::controller::dereference::cluster_state::ClusterState;
use crate::testing::{QUICKSTART, judge, merge, server, shared};

/// The folders of the pages, below the root of the checkout.
const FOLDERS: [&str; 5] = [
    ".",
    "docs",
    "examples/clients",
    "charts/behalf",
    "charts/behalf-crds",
];

/// The documents in the blocks of YAML of all pages, each with the name of its page.
fn documents() -> Vec<(String, Value)> {
    let mut documents = Vec::new();
    for folder in FOLDERS {
        let folder = format!("{}/../{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for block in text.split("\n```yaml\n").skip(1) {
                let (block, _) = block.split_once("\n```").unwrap();
                for document in block.split("\n---\n") {
                    let document = serde_yaml::from_str(document);
                    let document = document.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                    documents.push((path.display().to_string(), document));
                }
            }
        }
    }
    documents
}

/// Returns the `McpServer` of a document, or the quickstart with the fields of the document. `None` for other kinds, and for values
/// of the charts.
fn manifest(document: &Value) -> Option<Value> {
    let is_patch = document["kind"].is_null() && document["spec"]["gatewayClassName"].is_null();
    if document["kind"] == "McpServer" {
        Some(document.clone())
    } else if is_patch && document["spec"].is_object() {
        let mut manifest: Value = serde_yaml::from_str(QUICKSTART).unwrap();
        merge(&mut manifest, document.clone());
        Some(manifest)
    } else {
        None
    }
}

/// Returns the first path at which `read` lacks what is written.
fn lost(written: &Value, read: &Value, path: &str) -> Option<String> {
    let lost_at = |(name, member): (String, &Value), read: Option<&Value>| {
        let path = format!("{path}/{name}");
        match read {
            Some(read) => lost(member, read, &path),
            None => Some(path),
        }
    };
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written
            .iter()
            .find_map(|(name, member)| lost_at((name.clone(), member), read.get(name))),
        (Value::Array(written), Value::Array(read)) => written
            .iter()
            .enumerate()
            .find_map(|(number, member)| lost_at((number.to_string(), member), read.get(number))),
        (written, read) => (written != read).then(|| path.to_owned()),
    }
}

#[test]
fn an_installation_accepts_the_objects_of_the_documentation_and_reads_every_field_of_them() {
    let authority = json!({"data": {"ca.crt": "-----BEGIN CERTIFICATE-----"}});
    let authority: ConfigMap = serde_json::from_value(authority).unwrap();
    let mut accepted = 0;
    for (page, document) in documents() {
        let Some(manifest) = manifest(&document) else {
            continue;
        };
        let server = server(&manifest.to_string());
        assert_eq!(
            lost(&manifest["spec"], &json!(server.spec), "spec"),
            None,
            "{page}"
        );
        let found = ClusterState {
            store_certificate_authority: Some(authority.clone()),
            ..shared(&server)
        };
        judge(&server, &found).unwrap_or_else(|refusals| panic!("{page}: {refusals:?} for {document}"));
        accepted += 1;
    }
    assert!(accepted >= 10, "the pages have only {accepted} objects");
}
