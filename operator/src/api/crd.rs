//! The CRD as it is installed: the schema of the types, completed by rules that types cannot express.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ValidationRule,
};
use kube::{CustomResourceExt as _, ResourceExt as _};
use serde_json::json;

use super::v1alpha1::McpServer;

/// Maximum length of the name of an `McpServer`: names of its children add up to 15 characters, and a Service's name has
/// at most 63.
pub const NAME_LENGTH: usize = 48;

/// Annotation of the CRD: the release it belongs to. A `ValidatingAdmissionPolicy` of the chart `behalf-crds` reads it, and
/// refuses to replace the CRD of a newer release.
const VERSION_ANNOTATION: &str = "behalf.dev/version";

/// The CRD of `McpServer`.
pub fn mcp_server() -> CustomResourceDefinition {
    let mut crd = McpServer::crd();
    let release = env!("CARGO_PKG_VERSION").to_owned();
    crd.annotations_mut()
        .insert(VERSION_ANNOTATION.to_owned(), release);
    for version in &mut crd.spec.versions {
        let root = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(root) = root {
            complete(root);
        }
    }
    crd
}

/// Returns the CRD as YAML, as `crds/` contains it.
pub fn yaml() -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(&mcp_server())
}

/// Returns the CRD as a template of the chart `behalf-crds`. Without the annotation of Helm, uninstalling the chart would
/// delete every `McpServer` of the cluster.
pub fn helm_yaml() -> Result<String, serde_yaml::Error> {
    let mut crd = mcp_server();
    crd.annotations_mut()
        .insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    serde_yaml::to_string(&crd)
}

fn complete(root: &mut JSONSchemaProps) {
    root.x_kubernetes_validations = Some(vec![ValidationRule {
        rule: format!(
            "size(self.metadata.name) <= {NAME_LENGTH} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')"
        ),
        message: Some(format!(
            "metadata.name must have at most {NAME_LENGTH} characters, start with a letter and contain only a-z, 0-9 and -"
        )),
        ..ValidationRule::default()
    }]);
    simplify(root);
    // kstatus counts an object without status as Current; with this it waits for the operator.
    let status = root
        .properties
        .as_mut()
        .and_then(|properties| properties.get_mut("status"));
    if let Some(status) = status {
        status.default = Some(JSON(json!({"observedGeneration": -1})));
    }
}

/// Removes from the schema what only Rust needs. Without `nullable`, `null` is the same as leaving a field out.
/// Descriptions lose line breaks, and the brackets round addresses.
fn simplify(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    if let Some(description) = &mut schema.description {
        *description = description
            .split("\n\n")
            .map(|paragraph| {
                paragraph
                    .split_whitespace()
                    .map(without_brackets)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect::<Vec<_>>()
            .join("\n\n");
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
        simplify(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        simplify(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        simplify(values);
    }
}

fn without_brackets(word: &str) -> String {
    if word.starts_with("<http") {
        word.replace(['<', '>'], "")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(path: &str) -> String {
        std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default()
    }

    #[test]
    fn the_committed_crd_equals_the_types() {
        assert!(
            committed("crds/behalf.dev_mcpservers.yaml") == yaml().unwrap(),
            "out of date; run: cargo run -p behalf-operator -- crd > crds/behalf.dev_mcpservers.yaml"
        );
    }

    #[test]
    fn the_chart_installs_the_same_crd_and_keeps_it() {
        let template = helm_yaml().unwrap();
        assert!(
            !template.contains("{{"),
            "Helm would read it as a template's action"
        );
        assert!(
            committed("charts/behalf-crds/templates/behalf.dev_mcpservers.yaml") == template,
            "out of date; run: cargo run -p behalf-operator -- crd --helm > \
             charts/behalf-crds/templates/behalf.dev_mcpservers.yaml"
        );
    }

    /// Calls `found` with the path and the schema of every field.
    fn walk(schema: &serde_json::Value, path: &str, found: &mut impl FnMut(&str, &serde_json::Value)) {
        found(path, schema);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(property, &format!("{path}.{name}"), found);
        }
        for entries in ["items", "additionalProperties"] {
            if schema[entries].is_object() {
                walk(&schema[entries], &format!("{path}[]"), found);
            }
        }
    }

    fn schema() -> serde_json::Value {
        let crd = serde_json::to_value(mcp_server()).unwrap();
        crd.pointer("/spec/versions/0/schema/openAPIV3Schema")
            .unwrap()
            .clone()
    }

    #[test]
    fn every_description_is_made_of_whole_sentences() {
        let mut cut = Vec::new();
        walk(&schema(), "", &mut |path, schema| {
            let Some(text) = schema["description"].as_str() else {
                return;
            };
            let closed = text.matches('(').count() == text.matches(')').count();
            let ends = text.ends_with('.') && !text.ends_with("e.g.") && !text.ends_with("i.e.");
            let says_nothing = text.starts_with("Required") || text.split(' ').count() < 3;
            if !closed || !ends || says_nothing {
                cut.push(format!("{path}: {text}"));
            }
        });
        assert_eq!(cut, Vec::<String>::new());
    }

    #[test]
    fn every_field_of_ours_is_described() {
        let mut missing = Vec::new();
        walk(&schema(), "", &mut |path, schema| {
            // The description of a list or map also describes its entries.
            let is_field = path.starts_with(".spec") && !path.ends_with("[]");
            if is_field && schema["description"].as_str().is_none_or(str::is_empty) {
                missing.push(path.to_owned());
            }
        });
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn every_value_of_an_enum_is_described() {
        let (mut missing, mut seen) = (Vec::new(), 0);
        walk(&schema(), "", &mut |path, schema| {
            let text = schema["description"].as_str().unwrap_or_default();
            for value in schema["enum"].as_array().into_iter().flatten() {
                let value = value.as_str().unwrap();
                seen += 1;
                if !text.contains(&format!("{value}:")) && !text.contains(&format!("{value} (default):")) {
                    missing.push(format!("{path}: {value}"));
                }
            }
        });
        assert!(seen > 10, "only {seen} values");
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn each_rule_for_a_text_says_what_to_write() {
        let mut found = Vec::new();
        walk(&schema(), "", &mut |path, schema| {
            // The API server would answer with the regular expression.
            if schema.get("pattern").is_some() {
                found.push(path.to_owned());
            }
        });
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn integers_of_ours_are_int32() {
        let mut wrong = Vec::new();
        walk(&schema(), "", &mut |path, schema| {
            // Both are int64 in Kubernetes' own types.
            let is_upstream =
                path.to_lowercase().ends_with("generation") || path.ends_with(".tolerationSeconds");
            if schema["type"] == "integer" && !is_upstream && schema["format"] != "int32" {
                wrong.push(format!("{path}: {}", schema["format"]));
            }
        });
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn kubectl_get_behalf_lists_the_objects() {
        let names = mcp_server().spec.names;
        assert_eq!(names.categories, Some(vec!["behalf".to_owned()]));
        assert_eq!(names.short_names, Some(vec!["mcps".to_owned()]));
    }

    /// A field that is added by accident changes the snapshot.
    #[test]
    fn the_spec_has_these_fields_and_no_other() {
        let mut paths = Vec::new();
        walk(&schema(), "", &mut |path, _| {
            if path.starts_with(".spec.") && !path.ends_with("[]") {
                paths.push(path.to_owned());
            }
        });
        paths.sort();
        insta::assert_snapshot!(paths.join("\n"));
    }

    #[test]
    fn fields_that_cannot_work_are_not_in_the_schema() {
        let mut found = Vec::new();
        walk(&schema(), "", &mut |path, _| {
            let leaves = ["claims", "secretKeyRef", "fileKeyRef"];
            if leaves.iter().any(|leaf| path.ends_with(&format!(".{leaf}"))) || path == ".spec.sidecar.image"
            {
                found.push(path.to_owned());
            }
        });
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_default_that_depends_on_other_fields_or_on_the_release_is_not_in_the_schema() {
        for path in [
            "spec/properties/entra/properties/scope",
            "spec/properties/entra/properties/federation/properties/audience",
            "spec/properties/server/properties/resources",
            "spec/properties/sidecar/properties/resources",
            "spec/properties/tokenExchange",
            "spec/properties/replicas",
        ] {
            let schema = schema();
            let field = schema.pointer(&format!("/properties/{path}")).unwrap();
            walk(field, path, &mut |path, schema| {
                assert!(schema.get("default").is_none(), "{path} has a default");
            });
        }
    }

    #[test]
    fn the_scale_subresource_names_integers_and_a_text_of_the_schema() {
        let crd = serde_json::to_value(mcp_server()).unwrap();
        let scale = crd.pointer("/spec/versions/0/subresources/scale").unwrap();
        let schema = schema();
        for (path, kind) in [
            ("specReplicasPath", "integer"),
            ("statusReplicasPath", "integer"),
            ("labelSelectorPath", "string"),
        ] {
            let field = scale[path].as_str().unwrap().replace('.', "/properties/");
            assert_eq!(schema.pointer(&field).unwrap()["type"], kind, "{path}");
        }
    }

    #[test]
    fn no_tool_takes_the_status_of_a_new_object_for_ready() {
        let crd = serde_json::to_value(mcp_server()).unwrap();
        let status = crd
            .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status")
            .unwrap();
        assert_eq!(status["default"], json!({"observedGeneration": -1}));
    }
}
