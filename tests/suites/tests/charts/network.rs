//! Tests the operator's own network policy.

use serde_json::{Value, json};

use crate::render::{of_kind, one, render};

/// The ports of the rules of one direction, with their peers.
fn rules(policy: &Value, direction: &str, peers: &str) -> Vec<(Vec<Value>, Value)> {
    let rules = policy["spec"][direction].as_array().unwrap();
    rules
        .iter()
        .map(|rule| {
            let ports = rule["ports"].as_array().unwrap();
            (
                ports.iter().map(|port| port["port"].clone()).collect(),
                rule[peers].clone(),
            )
        })
        .collect()
}

#[test]
fn the_operator_reaches_names_the_api_server_and_its_pods_and_nothing_else() {
    let objects = render(&["watchNamespaces={two,one}"]).unwrap();
    let policy = one(&objects, "NetworkPolicy");
    let deployment = one(&objects, "Deployment");
    assert_eq!(
        policy["spec"]["podSelector"]["matchLabels"], deployment["spec"]["selector"]["matchLabels"],
        "the policy is for other Pods"
    );
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    let egress = rules(policy, "egress", "to");
    let pods = json!([{
        "namespaceSelector": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["one", "two"]},
        ]},
        "podSelector": {"matchExpressions": [{"key": "behalf.dev/mcp-server", "operator": "Exists"}]},
    }]);
    assert_eq!(
        egress,
        [
            (vec![json!(53), json!(53)], Value::Null),
            (vec![json!(443), json!(6443)], Value::Null),
            (vec![json!(9090)], pods),
        ]
    );
    let health = deployment
        .pointer("/spec/template/spec/containers/0/ports/0/containerPort")
        .unwrap();
    assert_eq!(
        rules(policy, "ingress", "from"),
        [(vec![health.clone()], Value::Null)]
    );
}

#[test]
fn a_cluster_wide_operator_reaches_its_pods_in_every_namespace() {
    let objects = render(&["clusterWide=true"]).unwrap();
    let egress = rules(one(&objects, "NetworkPolicy"), "egress", "to");
    assert_eq!(egress[2].1[0]["namespaceSelector"], json!({}));
}

#[test]
fn another_port_of_the_api_server_further_rules_and_readers_of_metrics_can_be_named() {
    let set = [
        "networkPolicy.apiServerPorts={8443}",
        "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=metrics",
        "networkPolicy.egress[0].ports[0].port=4318",
    ];
    let objects = render(&set).unwrap();
    let policy = one(&objects, "NetworkPolicy");
    let egress = rules(policy, "egress", "to");
    assert_eq!(egress[1].0, [json!(8443)]);
    assert_eq!(egress[3].0, [json!(4318)]);
    let from = json!([{"namespaceSelector": {"matchLabels": {"team": "metrics"}}}]);
    assert_eq!(rules(policy, "ingress", "from")[0].1, from);
}

#[test]
fn the_policy_can_be_left_out() {
    let objects = render(&["networkPolicy.enabled=false"]).unwrap();
    assert!(of_kind(&objects, "NetworkPolicy").is_empty());
}
