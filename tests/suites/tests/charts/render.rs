//! Renders a chart, and finds objects in the result.

use behalf_local_cluster::{Call, files};
use behalf_tests::chart_programs;
use serde::Deserialize as _;
use serde_json::Value;

/// The release's namespace in these tests.
pub(crate) const NAMESPACE: &str = "rendered";

/// The versions of Helm that the charts support, by the names of their programs.
pub(crate) const HELMS: [&str; 2] = ["helm3", "helm4"];

/// A call of one of the programs of these tests.
pub(crate) fn program(name: &str) -> Call {
    Call::new(chart_programs::program(name).unwrap())
}

/// The call that renders a chart with one version of Helm.
pub(crate) fn template(helm: &str, chart: &str, namespace: &str) -> Call {
    program(helm)
        .args(["template", "behalf"])
        .arg(files::checkout().join("charts").join(chart))
        // The oldest version that the charts support.
        .args(["--namespace", namespace, "--kube-version", "1.33.0"])
}

/// Renders a chart with one version of Helm, or returns what Helm says. A value that begins with `@` is a file of values.
fn render_with(helm: &str, chart: &str, namespace: &str, set: &[&str]) -> Result<Vec<Value>, String> {
    let call =
        template(helm, chart, namespace).args(set.iter().flat_map(|value| match value.strip_prefix('@') {
            Some(file) => ["--values", file],
            None => ["--set", value],
        }));
    let text = call.text().map_err(|error| behalf_runtime::error_chain(&error))?;
    let documents = serde_yaml::Deserializer::from_str(&text);
    let objects = documents.map(|document| Value::deserialize(document).map_err(|error| error.to_string()));
    let objects = objects.collect::<Result<Vec<_>, _>>()?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// Renders the operator's chart. Both versions of Helm must make the same of it.
pub(crate) fn render(set: &[&str]) -> Result<Vec<Value>, String> {
    render_chart("behalf", set)
}

/// Renders a chart. Both versions of Helm must make the same of it.
pub(crate) fn render_chart(chart: &str, set: &[&str]) -> Result<Vec<Value>, String> {
    render_release(chart, NAMESPACE, set)
}

/// Renders a chart for a release in a namespace. Both versions of Helm must make the same of it.
pub(crate) fn render_release(chart: &str, namespace: &str, set: &[&str]) -> Result<Vec<Value>, String> {
    let [three, four] = HELMS.map(|helm| {
        let mut objects = render_with(helm, chart, namespace, set)?;
        objects.sort_by_key(identity);
        Ok::<_, String>(objects)
    });
    let (three, four) = match (three, four) {
        (Err(three), Err(_)) => return Err(three),
        (three, four) => (three?, four?),
    };
    assert_eq!(three, four, "{chart} with {set:?}");
    Ok(three)
}

/// Kind, namespace and name.
fn identity(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!(
        "{} {} {}",
        object["kind"], metadata["namespace"], metadata["name"]
    )
}

/// The rendered objects of a kind.
pub(crate) fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The only object of a kind.
pub(crate) fn one<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "{} {kind}", found.len());
    found[0]
}
