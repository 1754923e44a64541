//! Renders the operator's chart with the cluster's version of Helm.

use behalf_demo::environment::Objects;
use behalf_local_cluster::cluster::Cluster;
use behalf_local_cluster::files;
use serde_json::Value;

use crate::world::TestResult;

/// Renders the chart without access to the cluster.
pub(crate) fn render(cluster: &Cluster, namespace: &str, set: &[&str]) -> TestResult<Vec<Value>> {
    let chart = files::checkout().join("charts/behalf").display().to_string();
    let mut arguments = vec!["template", "behalf", &chart, "--namespace", namespace];
    // The oldest version that the chart supports.
    arguments.extend(["--kube-version", "1.33.0"]);
    for value in set {
        arguments.extend(["--set", value]);
    }
    let mut objects = Objects::from_yaml(&cluster.helm(&arguments)?)?;
    Ok(objects.iter_mut().map(|object| object.clone()).collect())
}

/// The rendered objects of a kind.
pub(crate) fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}
