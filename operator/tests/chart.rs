//! The chart's values, their schema and their documentation name the same settings. The black-box suite renders the
//! chart (`tests/suites/tests/black_box/chart.rs`).

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use std::collections::BTreeSet;

use serde_json::Value;

fn chart(file: &str) -> String {
    std::fs::read_to_string(format!("{}/../charts/behalf/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn values() -> Value {
    serde_yaml::from_str(&chart("values.yaml")).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&chart("values.schema.json")).unwrap()
}

fn keys(object: &Value) -> BTreeSet<String> {
    object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect()
}

/// Follows a reference inside the schema.
fn resolve<'a>(schema: &'a Value, part: &'a Value) -> &'a Value {
    match part.get("$ref").and_then(Value::as_str) {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => part,
    }
}

/// Where both sides name fields, they name the same.
fn compare(schema: &Value, part: &Value, values: &Value, path: &str) {
    let part = resolve(schema, part);
    let Some(properties) = part.get("properties") else {
        return;
    };
    assert_eq!(
        part.get("additionalProperties"),
        Some(&Value::Bool(false)),
        "{path} takes unknown values"
    );
    let mut known = keys(properties);
    known.remove("global");
    if path != ".resources" {
        assert_eq!(known, keys(values), "{path}");
    }
    for key in keys(values) {
        compare(schema, &properties[&key], &values[&key], &format!("{path}.{key}"));
    }
}

#[test]
fn values_and_schema_name_the_same_settings() {
    compare(&schema(), &schema(), &values(), "");
}

#[test]
fn the_readme_explains_every_setting() {
    let readme = chart("README.md");
    for key in keys(&values()) {
        assert!(
            readme.contains(&format!("`{key}")),
            "README.md does not explain {key}"
        );
    }
}

#[test]
fn no_binding_has_the_name_of_one_that_bound_a_role_in_an_older_release() {
    // What a binding refers to cannot be changed, so `helm upgrade` would fail.
    let rights = chart("templates/rbac.yaml");
    assert!(!rights.contains(r#"name: {{ include "behalf.fullname" $ }}"#));
    assert!(!rights.contains(r#"name: {{ include "behalf.fullname" . }}"#));
}

#[test]
fn a_value_that_consists_of_digits_stays_a_text() {
    // Without quotes, YAML makes a number of a namespace or release with the name 2026, and the API server rejects it.
    let files = [
        "_helpers.tpl",
        "deployment.yaml",
        "rbac.yaml",
        "serviceaccount.yaml",
        "admission.yaml",
    ];
    let mut values = 0;
    for file in files {
        for line in chart(&format!("templates/{file}")).lines() {
            let Some((key, value)) = line.split_once(": {{ .") else {
                continue;
            };
            // The schema demands a number.
            let is_number = key.trim() == "replicas";
            if is_number || key.trim().contains(' ') || !value.ends_with("}}") {
                continue;
            }
            values += 1;
            assert!(value.ends_with("| quote }}"), "{file}: {line}");
        }
    }
    assert!(values >= 6, "{values} values were found");
}

#[test]
fn the_defaults_of_the_chart_equal_those_of_the_operator() {
    let allowed = &values()["allowed"];
    assert_eq!(
        allowed["entraHosts"],
        serde_json::json!(behalf_operator::controller::validate::installation_policy::ENTRA_HOSTS)
    );
    assert_eq!(
        allowed["azureDevOpsHosts"],
        serde_json::json!(behalf_operator::controller::validate::installation_policy::AZURE_DEV_OPS_HOSTS)
    );
    for nothing in ["redirectHosts", "documentHosts", "serverRepositories"] {
        assert_eq!(allowed[nothing], serde_json::json!([]), "{nothing}");
    }
}
