//! Tests the `PodMonitors`, the alerts and the dashboard.

use behalf_local_cluster::files;
use serde_json::{Value, json};

use crate::render::{of_kind, one, program, render};

const ALL: [&str; 3] = [
    "monitoring.podMonitors.enabled=true",
    "monitoring.prometheusRule.enabled=true",
    "monitoring.dashboard.enabled=true",
];

/// A child of the operator as its golden file has it.
fn golden(name: &str) -> Value {
    let path = files::checkout().join(format!("operator/src/controller/children/snapshots/{name}.snap"));
    let text = std::fs::read_to_string(path).unwrap();
    let (_, object) = text.trim_start_matches("---").split_once("\n---\n").unwrap();
    serde_yaml::from_str(object).unwrap()
}

/// Whether an object has every label of a selector.
fn selects(selector: &Value, labels: &Value) -> bool {
    let mut wanted = selector["matchLabels"].as_object().unwrap().iter();
    wanted.all(|(key, value)| labels[key] == *value)
}

/// The names of the ports of every container of a Pod.
fn ports(pod: &Value) -> Vec<&str> {
    let containers = ["initContainers", "containers"]
        .into_iter()
        .filter_map(|list| pod[list].as_array());
    let ports = containers
        .flatten()
        .filter_map(|container| container["ports"].as_array());
    ports.flatten().filter_map(|port| port["name"].as_str()).collect()
}

#[test]
fn monitoring_is_off_by_default() {
    let objects = render(&[]).unwrap();
    for kind in ["PodMonitor", "PrometheusRule", "ConfigMap"] {
        assert!(of_kind(&objects, kind).is_empty(), "{kind}");
    }
}

#[test]
fn pod_monitors_find_the_operator_and_the_sidecars_by_labels_and_ports_that_they_have() {
    let sets = [
        (
            "monitoring.coreos.com",
            "watchNamespaces={two,one}",
            json!({"matchNames": ["one", "two"]}),
        ),
        (
            "azmonitoring.coreos.com",
            "clusterWide=true",
            json!({"any": true}),
        ),
    ];
    for (group, scope, namespaces) in sets {
        let api_group = format!("monitoring.apiGroup={group}");
        let set = [
            ALL[0],
            scope,
            &api_group,
            "monitoring.podMonitors.labels.release=stack",
        ];
        let objects = render(&set).unwrap();
        let monitors = of_kind(&objects, "PodMonitor");
        let [operator, sidecars] = monitors[..] else {
            panic!("{} PodMonitors", monitors.len())
        };
        for monitor in [operator, sidecars] {
            assert_eq!(monitor["apiVersion"], format!("{group}/v1"));
            assert_eq!(monitor["metadata"]["labels"]["release"], "stack");
        }
        assert_eq!(sidecars["spec"]["namespaceSelector"], namespaces);
        let templates = [
            &one(&objects, "Deployment")["spec"]["template"],
            &golden("quickstart.deployment")["spec"]["template"],
        ];
        for (monitor, template) in [operator, sidecars].into_iter().zip(templates) {
            assert!(
                selects(&monitor["spec"]["selector"], &template["metadata"]["labels"]),
                "{monitor}"
            );
            let port = monitor
                .pointer("/spec/podMetricsEndpoints/0/port")
                .and_then(Value::as_str)
                .unwrap();
            assert!(
                ports(&template["spec"]).contains(&port),
                "no container has the port {port}"
            );
        }
        // A Pod with the labels of a sidecar must not speak for the operator.
        let dropped = sidecars.pointer("/spec/podMetricsEndpoints/0/metricRelabelings");
        assert_eq!(
            dropped,
            Some(&json!([{"sourceLabels": ["__name__"], "regex": "behalf_operator_.*", "action": "drop"}]))
        );
        assert!(sidecars["spec"]["sampleLimit"].is_u64(), "{sidecars}");
        let label = sidecars
            .pointer("/spec/podMetricsEndpoints/0/relabelings/0/sourceLabels/0")
            .unwrap();
        // Prometheus writes an underscore for each other character of behalf.dev/mcp-server.
        assert_eq!(label, "__meta_kubernetes_pod_label_behalf_dev_mcp_server");
    }
}

#[test]
fn the_operator_of_prometheus_knows_every_field_of_the_pod_monitors() {
    let objects = render(&[ALL[0]]).unwrap();
    let monitors = json!(of_kind(&objects, "PodMonitor")).to_string();
    let decode = |text: &str| program("prometheus-syntax").arg("podmonitors").input(text).text();
    decode(&monitors).unwrap();
    // The program notices a field that does not exist.
    assert!(decode(&monitors.replace("relabelings", "relabeling")).is_err());
}

#[test]
fn prometheus_parses_every_alert_and_every_query_of_the_dashboard() {
    let objects = render(&ALL).unwrap();
    let rules = &one(&objects, "PrometheusRule")["spec"];
    let dashboard = one(&objects, "ConfigMap")["data"]["behalf.json"]
        .as_str()
        .unwrap();
    let parse = |what: &str, text: &str| {
        let call = program("prometheus-syntax").arg(what).input(text);
        call.text().map_err(|error| behalf_runtime::error_chain(&error))
    };
    assert_eq!(rules["groups"].as_array().unwrap().len(), 2);
    parse("rules", &rules.to_string()).unwrap();
    parse("dashboard", dashboard).unwrap();
    // The program notices what is wrong.
    let broken = rules.to_string().replacen("sum by (", "sum by ((", 1);
    assert!(parse("rules", &broken).unwrap_err().contains("parse error"));
    let broken = dashboard.replacen("rate(", "rate((", 1);
    assert!(parse("dashboard", &broken).unwrap_err().contains("parse error"));
}

#[test]
fn grafana_finds_the_dashboard_by_its_label() {
    let objects = render(&ALL).unwrap();
    let labels = &one(&objects, "ConfigMap")["metadata"]["labels"];
    assert_eq!(labels["grafana_dashboard"], "1");
}

#[test]
fn the_example_switches_on_all_of_it() {
    let values = files::checkout().join("examples/monitoring/values.yaml");
    let objects = render(&[&format!("@{}", values.display())]).unwrap();
    let kinds = ["PodMonitor", "PrometheusRule", "ConfigMap"].map(|kind| of_kind(&objects, kind).len());
    assert_eq!(kinds, [2, 1, 1]);
    let readers = one(&objects, "NetworkPolicy").pointer("/spec/ingress/0/from");
    assert_eq!(readers.and_then(Value::as_array).map(Vec::len), Some(1));
}

#[test]
fn alerts_need_the_pod_monitors() {
    let error = render(&[ALL[1]]).unwrap_err();
    assert!(error.contains("monitoring.podMonitors.enabled"), "{error}");
}

/// The expression of an alert.
fn expression(name: &str) -> String {
    let text = std::fs::read_to_string(files::checkout().join("charts/behalf/files/alerts.yaml")).unwrap();
    let alerts: Value = serde_yaml::from_str(&text).unwrap();
    let groups = alerts["groups"].as_array().unwrap().iter();
    let mut rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let rule = rules.find(|rule| rule["alert"] == name).unwrap();
    rule["expr"].as_str().unwrap().to_owned()
}

#[test]
fn the_pings_of_the_readiness_probe_hide_no_failing_writes() {
    let expression = expression("BehalfSessionStoreUnavailable");
    let by_operation = "sum by (namespace, mcp_server, operation)";
    assert_eq!(expression.matches("sum by").count(), 2, "{expression}");
    assert_eq!(expression.matches(by_operation).count(), 2, "{expression}");
}

#[test]
fn a_healthy_pod_hides_no_broken_one_and_an_old_success_no_failure() {
    for name in ["BehalfFederationBroken", "BehalfServerBroken"] {
        let expression = expression(name);
        assert!(
            expression.contains("unless on (namespace, mcp_server, pod)"),
            "{expression}"
        );
        assert_eq!(expression.matches("[3m]").count(), 2, "{expression}");
    }
}

#[test]
fn requests_without_a_valid_token_hide_no_failing_calls() {
    let expression = expression("BehalfErrorRatio");
    let (_, all) = expression.split_once(" / ").unwrap();
    assert!(all.contains(r#"reason!~"no_token|invalid_token""#), "{all}");
}

#[test]
fn metrics_that_nobody_can_read_and_an_entra_that_does_not_answer_have_alerts() {
    let unread = expression("BehalfSidecarsNotScraped");
    let objects = render(&[ALL[0]]).unwrap();
    let monitors = of_kind(&objects, "PodMonitor");
    let name = monitors[1]["metadata"]["name"].as_str().unwrap();
    // Prometheus' operator names the job <namespace>/<name>.
    assert!(
        name.ends_with("-sidecars") && unread.contains(r#"job=~".+-sidecars""#),
        "{unread}"
    );
    assert!(expression("BehalfFederationUnknown").contains(r#"outcome="Unknown""#));
}

#[test]
fn azure_monitor_reads_no_rules_of_the_cluster() {
    let error = render(&[ALL[1], "monitoring.apiGroup=azmonitoring.coreos.com"]).unwrap_err();
    assert!(error.contains("files/alerts.yaml"), "{error}");
}
