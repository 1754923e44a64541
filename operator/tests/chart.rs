//! The values of the charts, their schemas and their documentation name the same settings, and the monitoring names metrics that
//! exist. Another test renders the charts (`tests/suites/tests/charts`).

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use std::collections::BTreeSet;

use serde_json::Value;
use serde_yaml::Value as Yaml;

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

/// Writes a default on one line, as YAML.
fn inline(default: &Yaml) -> String {
    match default {
        Yaml::Sequence(entries) => {
            let entries: Vec<String> = entries.iter().map(inline).collect();
            format!("[{}]", entries.join(", "))
        }
        Yaml::Mapping(members) => {
            let pair = |(key, value): (&Yaml, &Yaml)| format!("{}: {}", inline(key), inline(value));
            let members: Vec<String> = members.iter().map(pair).collect();
            format!("{{{}}}", members.join(", "))
        }
        // Without quotes it would be empty or a number.
        Yaml::String(text) if serde_yaml::from_str::<Yaml>(text).unwrap() != *default => format!("{text:?}"),
        other => serde_yaml::to_string(other).unwrap().trim_end().to_owned(),
    }
}

/// A row of the table. An object with defaults is one row for all its settings, a list of texts has its entries as they are.
fn row(path: &str, default: &Yaml, meaning: &str) -> String {
    let code = |text: String| format!("`{text}`");
    let codes = |defaults: Vec<&Yaml>| -> Vec<String> {
        let defaults = defaults.into_iter().map(inline);
        defaults.map(code).collect()
    };
    let (name, defaults) = match default {
        Yaml::Mapping(members) if !members.is_empty() => {
            let names: Vec<String> = members.keys().map(inline).collect();
            (
                format!("{path}.{{{}}}", names.join(",")),
                codes(members.values().collect()),
            )
        }
        Yaml::Sequence(entries) if entries.iter().any(Yaml::is_string) => {
            (path.to_owned(), codes(entries.iter().collect()))
        }
        other => (path.to_owned(), codes(vec![other])),
    };
    format!("| `{name}` | {} | {meaning} |\n", defaults.join(", "))
}

/// Returns the rows of a part of the schema: one for each description, in the order of the values.
fn rows(schema: &Value, part: &Value, default: &Yaml, path: &str) -> String {
    if let Some(meaning) = part["description"].as_str() {
        return row(path, default, meaning);
    }
    let part = resolve(schema, part);
    let join = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    // The user chooses the names of the members.
    if let Some(members) = part["additionalProperties"]["properties"].as_object() {
        let any = join(&format!("<{}>", path.trim_end_matches('s')));
        let row_of =
            |(key, member): (&String, &Value)| rows(schema, member, default, &format!("{any}.{key}"));
        return members.iter().map(row_of).collect();
    }
    let members = default
        .as_mapping()
        .unwrap_or_else(|| panic!("the schema does not describe {path}"));
    assert!(!members.is_empty(), "the schema does not describe {path}");
    let row_of = |(key, default): (&Yaml, &Yaml)| {
        let key = key.as_str().unwrap();
        rows(schema, &part["properties"][key], default, &join(key))
    };
    members.iter().map(row_of).collect()
}

/// `make generate` writes the tables.
#[test]
fn the_tables_of_the_readmes_are_made_of_the_values_and_the_descriptions_of_their_schemas() {
    const HEAD: &str = "| Value | Default | Meaning |\n|---|---|---|\n";
    for chart in CHARTS {
        let schema: Value =
            serde_json::from_str(&file(&format!("charts/{chart}/values.schema.json"))).unwrap();
        let defaults: Yaml = serde_yaml::from_str(&file(&format!("charts/{chart}/values.yaml"))).unwrap();
        let table = rows(&schema, &schema, &defaults, "");
        let path = format!("charts/{chart}/README.md");
        let readme = file(&path);
        let (before, rest) = readme.split_once(HEAD).unwrap();
        let (present, after) = rest.split_once("\n\n").unwrap();
        if std::env::var_os("BEHALF_GENERATE").is_some() {
            let readme = format!("{before}{HEAD}{table}\n{after}");
            std::fs::write(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR")), readme).unwrap();
        } else {
            assert_eq!(format!("{present}\n"), table, "run make generate");
        }
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
