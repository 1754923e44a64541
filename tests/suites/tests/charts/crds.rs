//! Tests the chart behalf-crds. The black-box suite installs it, and tests what it refuses and warns of.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::render::{of_kind, one, render_chart};

fn texts(value: &Value) -> BTreeSet<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// A policy of the chart, and its binding.
fn policy<'o>(objects: &'o [Value], name: &str) -> (&'o Value, &'o Value) {
    let [policy, binding] = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"].map(|kind| {
        let named = of_kind(objects, kind)
            .into_iter()
            .find(|object| object["metadata"]["name"] == name);
        named.unwrap_or_else(|| panic!("no {kind} {name}"))
    });
    assert_eq!(binding["spec"]["policyName"], name);
    (policy, binding)
}

#[test]
fn view_reads_mcp_servers_and_edit_writes_them_and_nobody_writes_their_status() {
    let objects = render_chart("behalf-crds", &["aggregatedRoles=true"]).unwrap();
    let reads = BTreeSet::from(["get", "list", "watch"]);
    let mut seen = BTreeSet::new();
    for role in of_kind(&objects, "ClusterRole") {
        let labels = &role["metadata"]["labels"];
        let aggregated_to =
            |name: &str| labels[format!("rbac.authorization.k8s.io/aggregate-to-{name}")] == "true";
        assert!(aggregated_to("edit") && aggregated_to("admin"), "{labels}");
        for rule in role["rules"].as_array().unwrap() {
            assert_eq!(rule["apiGroups"], json!(["behalf.dev"]));
            assert!(!rule.to_string().contains('*'), "a wildcard: {rule}");
            let writes = texts(&rule["verbs"]).difference(&reads).count() > 0;
            assert!(!(writes && aggregated_to("view")), "view writes: {rule}");
            let resources = texts(&rule["resources"]);
            assert!(!(writes && resources.contains("mcpservers/status")), "{rule}");
            seen.extend(resources.into_iter().map(|resource| (resource, writes)));
        }
    }
    assert!(
        seen.contains(&("mcpservers", false)) && seen.contains(&("mcpservers", true)),
        "{seen:?}"
    );
    assert!(seen.contains(&("mcpservers/scale", true)), "{seen:?}");
}

#[test]
fn no_role_is_aggregated_by_default() {
    let objects = render_chart("behalf-crds", &[]).unwrap();
    assert!(of_kind(&objects, "ClusterRole").is_empty(), "{objects:?}");
}

#[test]
fn the_crd_stays_after_an_uninstall_and_names_its_release() {
    let objects = render_chart("behalf-crds", &[]).unwrap();
    let annotations = &one(&objects, "CustomResourceDefinition")["metadata"]["annotations"];
    assert_eq!(annotations["helm.sh/resource-policy"], "keep");
    assert_eq!(annotations["behalf.dev/version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_change_that_signs_users_out_is_warned_of_and_never_refused() {
    let objects = render_chart("behalf-crds", &[]).unwrap();
    let (policy, binding) = policy(&objects, "behalf-sign-out-warnings");
    assert_eq!(binding["spec"]["validationActions"], json!(["Warn"]));
    // A defect of the policy must not stop a change either.
    assert_eq!(policy["spec"]["failurePolicy"], "Ignore");
}

#[test]
fn an_older_crd_is_refused_also_after_an_uninstall() {
    let objects = render_chart("behalf-crds", &[]).unwrap();
    let (policy, binding) = policy(&objects, "behalf-crd-downgrades");
    assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    let crd = &one(&objects, "CustomResourceDefinition")["metadata"];
    let rule = &policy["spec"]["matchConstraints"]["resourceRules"][0];
    assert_eq!(rule["resourceNames"], json!([crd["name"]]));
    for object in [policy, binding] {
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
    }
}

#[test]
fn roles_and_warnings_can_be_left_out() {
    let objects = render_chart("behalf-crds", &["aggregatedRoles=false", "signOutWarnings=false"]).unwrap();
    assert_eq!(
        objects.len(),
        3,
        "only the CRD and what refuses an older one: {objects:?}"
    );
    let error = render_chart("behalf-crds", &["aggregatedRole=false"]).unwrap_err();
    assert!(error.contains("'aggregatedRole' not allowed"), "{error}");
}
