//! The values of the charts, their schemas and their documentation name the same settings, and the monitoring names metrics that
//! exist. Another test renders the charts (`tests/suites/tests/charts`).

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use std::collections::BTreeSet;

use serde_json::Value;

const CHARTS: [&str; 2] = ["behalf", "behalf-crds"];

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn chart(path: &str) -> String {
    file(&format!("charts/behalf/{path}"))
}

fn values() -> Value {
    values_of("behalf")
}

fn values_of(chart: &str) -> Value {
    serde_yaml::from_str(&file(&format!("charts/{chart}/values.yaml"))).unwrap()
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
    if path != "behalf.resources" {
        assert_eq!(known, keys(values), "{path}");
    }
    for key in keys(values) {
        compare(schema, &properties[&key], &values[&key], &format!("{path}.{key}"));
    }
}

#[test]
fn values_and_schema_name_the_same_settings() {
    for chart in CHARTS {
        let schema: Value =
            serde_json::from_str(&file(&format!("charts/{chart}/values.schema.json"))).unwrap();
        compare(&schema, &schema, &values_of(chart), chart);
    }
}

#[test]
fn the_readme_explains_every_setting() {
    for chart in CHARTS {
        let readme = file(&format!("charts/{chart}/README.md"));
        for key in keys(&values_of(chart)) {
            assert!(
                readme.contains(&format!("| `{key}")) || readme.contains(&format!(", `{key}`")),
                "README.md of {chart} does not explain {key}"
            );
        }
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
    let folder = format!("{}/../charts/behalf/templates", env!("CARGO_MANIFEST_DIR"));
    let mut values = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        if file == "NOTES.txt" {
            continue;
        }
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

#[test]
fn both_charts_are_of_the_release_of_the_operator() {
    for chart in CHARTS {
        let chart: Value = serde_yaml::from_str(&file(&format!("charts/{chart}/Chart.yaml"))).unwrap();
        assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"), "{chart}");
        assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"), "{chart}");
    }
}

/// The words of a text that begin with `behalf_`.
fn metrics(text: &str) -> BTreeSet<&str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("behalf_"))
        .collect()
}

#[test]
fn alerts_and_dashboard_name_metrics_that_exist() {
    let page = file("docs/metrics.md");
    let documented = metrics(&page);
    for path in ["files/alerts.yaml", "files/dashboard.json"] {
        let text = chart(path);
        let named = metrics(&text);
        assert!(named.len() > 8, "{path} names only {named:?}");
        for metric in named {
            // Prometheus stores a histogram as three metrics.
            let histogram = ["_bucket", "_count"]
                .iter()
                .find_map(|suffix| metric.strip_suffix(suffix));
            let exists = documented.contains(metric)
                || histogram.is_some_and(|name| name.ends_with("_seconds") && documented.contains(name));
            assert!(
                exists,
                "{path} names {metric}, which docs/metrics.md does not have"
            );
        }
    }
}

#[test]
fn alerts_name_values_of_labels_that_exist() {
    let page = file("docs/metrics.md");
    let alerts = chart("files/alerts.yaml");
    let patterns = ["=~\"", "!~\"", "=\""]
        .iter()
        .flat_map(|operator| alerts.split(operator).skip(1));
    let values: BTreeSet<&str> = patterns
        .filter_map(|rest| rest.split('"').next())
        .flat_map(|pattern| pattern.split('|'))
        // Prometheus itself sets the labels of the metric `up`.
        .filter(|value| !value.starts_with('5') && !value.is_empty() && *value != ".+-sidecars")
        .collect();
    assert!(values.len() > 8, "{values:?}");
    for value in values {
        assert!(
            page.contains(&format!("`{value}`")),
            "an alert waits for {value}, which docs/metrics.md does not have"
        );
    }
}

#[test]
fn the_dashboard_is_json_and_each_panel_has_a_query() {
    let dashboard: Value = serde_json::from_str(&chart("files/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let graphs: Vec<_> = panels.iter().filter(|panel| panel["type"] != "row").collect();
    assert!(graphs.len() > 10, "{} panels", graphs.len());
    for panel in graphs {
        let queries = panel["targets"].as_array().unwrap();
        assert!(!queries.is_empty(), "{}", panel["title"]);
    }
    let mut ids: Vec<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
}

#[test]
fn the_operator_understands_every_variable_that_the_chart_sets() {
    let command = <behalf_operator::cli::Cli as clap::CommandFactory>::command();
    let run = command.find_subcommand("run").unwrap();
    let known: BTreeSet<_> = run
        .get_arguments()
        .filter_map(clap::Arg::get_env)
        .filter_map(|name| name.to_str())
        .collect();
    let templates = chart("templates/deployment.yaml") + &chart("templates/_helpers.tpl");
    let set: BTreeSet<_> = templates
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- name: "))
        .filter(|name| name.starts_with("BEHALF_"))
        .collect();
    assert!(set.len() > 8, "{set:?}");
    for name in set {
        assert!(known.contains(name), "{name} is no variable of the operator");
    }
}
