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
    // An affinity has members that its default does not have.
    if keys(values).is_empty() {
        return;
    }
    let mut known = keys(properties);
    known.remove("global");
    assert_eq!(known, keys(values), "{path}");
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

/// Adds the settings of a chart, by their paths, with their defaults. An object whose members the user chooses is one setting.
fn settings(schema: &Value, part: &Value, value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    let part = resolve(schema, part);
    // An affinity has members that its default does not have.
    let members = part.get("properties").filter(|_| !keys(value).is_empty());
    let Some(members) = members else {
        found.push((path.to_owned(), value.clone()));
        return;
    };
    for key in keys(value) {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        settings(schema, &members[&key], &value[&key], &path, found);
    }
}

/// The texts between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The settings of a row of the table: `a.{b,c}` is two, and the part of `a.<name>.b` that the chart knows is `a`.
fn named(cell: &str) -> Vec<String> {
    let one = |path: &str| -> Vec<String> {
        let path = path.split_once(".<").map_or(path, |(path, _)| path);
        let Some((path, list)) = path.split_once(".{") else {
            return vec![path.to_owned()];
        };
        let list = list.trim_end_matches('}').split(',');
        list.map(|last| format!("{path}.{last}")).collect()
    };
    quoted(cell).into_iter().flat_map(one).collect()
}

#[test]
fn the_readme_names_every_setting_with_its_default() {
    for chart in CHARTS {
        let schema: Value =
            serde_json::from_str(&file(&format!("charts/{chart}/values.schema.json"))).unwrap();
        let mut expected = Vec::new();
        settings(&schema, &schema, &values_of(chart), "", &mut expected);
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        let readme = file(&format!("charts/{chart}/README.md"));
        let rows = readme.lines().filter(|line| line.starts_with("| `"));
        let mut documented = Vec::new();
        for row in rows {
            let [_, names, defaults, meaning, _] = row.split('|').map(str::trim).collect::<Vec<_>>()[..]
            else {
                panic!("{row}")
            };
            assert!(!meaning.is_empty(), "{row}");
            let names = named(names);
            let defaults: Vec<Value> = quoted(defaults)
                .into_iter()
                .map(|default| serde_yaml::from_str(default).unwrap())
                .collect();
            // The entries of one list, or one default for each name.
            if names.len() == 1 && defaults.len() > 1 {
                documented.push((names[0].clone(), Value::Array(defaults)));
            } else {
                assert_eq!(names.len(), defaults.len(), "{row}");
                documented.extend(names.into_iter().zip(defaults));
            }
        }
        documented.sort_by(|one, other| one.0.cmp(&other.0));
        documented.dedup();
        assert_eq!(documented, expected, "README.md of {chart}");
    }
}

/// Adds the parts of a schema that take any object or any list.
fn open(schema: &Value, path: &str, found: &mut Vec<String>) {
    let is = |kind: &str| schema["type"] == kind;
    let limits_members =
        schema["additionalProperties"] == Value::Bool(false) || schema["additionalProperties"].is_object();
    if is("object") && !limits_members || is("array") && !schema["items"].is_object() {
        found.push(path.to_owned());
    }
    match schema {
        Value::Object(members) => {
            for (key, member) in members {
                open(member, &format!("{path}/{key}"), found);
            }
        }
        Value::Array(entries) => {
            for entry in entries {
                open(entry, path, found);
            }
        }
        _ => {}
    }
}

#[test]
fn no_part_of_a_schema_takes_what_it_does_not_describe() {
    for chart in CHARTS {
        let schema: Value =
            serde_json::from_str(&file(&format!("charts/{chart}/values.schema.json"))).unwrap();
        let mut found = Vec::new();
        open(&schema, "", &mut found);
        // Helm sets it.
        found.retain(|path| path != "/properties/global");
        assert_eq!(found, Vec::<String>::new(), "{chart}");
    }
}

#[test]
fn no_binding_has_the_name_of_one_that_bound_a_role_in_an_older_release() {
    // The role of a binding cannot be changed, so `helm upgrade` would fail.
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
