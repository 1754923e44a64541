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
        let endpoints = |monitor: &Value| monitor["spec"]["podMetricsEndpoints"].as_array().unwrap().clone();
        for (monitor, template) in [operator, sidecars].into_iter().zip(templates) {
            assert!(
                selects(&monitor["spec"]["selector"], &template["metadata"]["labels"]),
                "{monitor}"
            );
            for endpoint in endpoints(monitor) {
                let port = endpoint["port"].as_str().unwrap();
                assert!(
                    ports(&template["spec"]).contains(&port),
                    "no container has the port {port}"
                );
            }
        }
        let both = endpoints(sidecars);
        assert_eq!(both.len(), 2, "the sidecar and the built-in server");
        for endpoint in both {
            // A Pod with the labels of a sidecar must not speak for the operator.
            assert_eq!(
                endpoint["metricRelabelings"],
                json!([{"sourceLabels": ["__name__"], "regex": "behalf_operator_.*", "action": "drop"}])
            );
            // Prometheus writes an underscore for each other character of behalf.dev/mcp-server.
            let label = endpoint.pointer("/relabelings/0/sourceLabels/0").unwrap();
            assert_eq!(label, "__meta_kubernetes_pod_label_behalf_dev_mcp_server");
        }
        assert!(sidecars["spec"]["sampleLimit"].is_u64(), "{sidecars}");
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

/// Every alert.
fn rules() -> Vec<Value> {
    let text = std::fs::read_to_string(files::checkout().join("charts/behalf/files/alerts.yaml")).unwrap();
    let alerts: Value = serde_yaml::from_str(&text).unwrap();
    let groups = alerts["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules.cloned().collect()
}

/// Runs the tests of the alerts with this file of alerts, and returns what promtool says.
fn test_alerts(alerts: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let tests = std::fs::read_to_string(files::checkout().join("tests/charts/alerts.yaml")).unwrap();
    let named = "../../charts/behalf/files/alerts.yaml";
    assert_eq!(tests.matches(named).count(), 1);
    std::fs::write(
        folder.path().join("tests.yaml"),
        tests.replace(named, "alerts.yaml"),
    )
    .unwrap();
    std::fs::write(folder.path().join("alerts.yaml"), alerts).unwrap();
    let call = program("promtool").args(["test", "rules"]);
    let call = call.arg(folder.path().join("tests.yaml"));
    call.text().map_err(|error| behalf_runtime::error_chain(&error))
}

#[test]
fn each_alert_fires_for_its_cause_alone() {
    let alerts = std::fs::read_to_string(files::checkout().join("charts/behalf/files/alerts.yaml")).unwrap();
    test_alerts(&alerts).unwrap();
    // promtool notices an alert that fires too late, and one that fires for a healthy object.
    let late = alerts.replacen("for: 30m", "for: 31m", 1);
    assert!(test_alerts(&late).unwrap_err().contains("BehalfKeyRotationStuck"));
    let too_wide = alerts.replacen(r#"code="403""#, r#"code=~"403|404""#, 1);
    assert!(
        test_alerts(&too_wide)
            .unwrap_err()
            .contains("BehalfApiRequestsForbidden")
    );
}

#[test]
fn each_alert_has_a_test_and_says_what_to_do() {
    let tests = std::fs::read_to_string(files::checkout().join("tests/charts/alerts.yaml")).unwrap();
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        // One moment at which it fires, and one at which it does not.
        let queries = tests
            .matches(&format!("expr: ALERTS{{alertname=\"{name}\""))
            .count();
        assert!(
            queries >= 2,
            "{name} has {queries} queries in tests/charts/alerts.yaml"
        );
        let description = rule["annotations"]["description"].as_str().unwrap_or_default();
        assert!(description.len() > 60, "{name}: {description:?}");
    }
}

#[test]
fn the_alert_on_metrics_that_cannot_be_read_names_the_job_of_the_pod_monitor() {
    let rules = rules();
    let unread = rules
        .iter()
        .find(|rule| rule["alert"] == "BehalfSidecarsNotScraped");
    let unread = unread.unwrap()["expr"].as_str().unwrap();
    let objects = render(&[ALL[0]]).unwrap();
    let monitors = of_kind(&objects, "PodMonitor");
    let name = monitors[1]["metadata"]["name"].as_str().unwrap();
    // Prometheus' operator names the job <namespace>/<name>.
    assert!(
        name.ends_with("-sidecars") && unread.contains(r#"job=~".+-sidecars""#),
        "{unread}"
    );
}

#[test]
fn azure_monitor_reads_no_rules_of_the_cluster() {
    let error = render(&[ALL[1], "monitoring.apiGroup=azmonitoring.coreos.com"]).unwrap_err();
    assert!(error.contains("files/alerts.yaml"), "{error}");
}
