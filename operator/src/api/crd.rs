//! The CRD as it is installed: the schema derived from the types, and what types cannot say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ValidationRule,
};
use kube::{CustomResourceExt as _, ResourceExt as _};
use serde_json::json;

use super::v1alpha1::McpServer;

/// Longest name of an `McpServer`: names of its children add up to 15 characters, and a Service's name has
/// at most 63.
pub const NAME_LENGTH: usize = 48;

/// The CRD of `McpServer`.
pub fn mcp_server() -> CustomResourceDefinition {
    let mut crd = McpServer::crd();
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

/// The CRD as YAML, as `crds/` keeps it.
pub fn yaml() -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(&mcp_server())
}

/// The CRD as a template of the chart `behalf-crds`. Without the annotation, uninstalling the chart would
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
            "metadata.name must have at most {NAME_LENGTH} characters, start with a letter and hold only a-z, 0-9 and -"
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

/// Makes the schema what a person would have written. Without `nullable`, `null` is the same as leaving a field
/// out. Descriptions lose what is only for rustdoc: line breaks, and brackets round addresses.
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
    fn the_committed_crd_is_what_the_types_say() {
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

    #[test]
    fn a_fresh_object_has_a_status_that_no_tool_takes_for_ready() {
        let crd = serde_json::to_value(mcp_server()).unwrap();
        let status = crd
            .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status")
            .unwrap();
        assert_eq!(status["default"], json!({"observedGeneration": -1}));
    }
}
