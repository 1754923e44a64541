//! Tests how many Pods of the operator run, where, and with what.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::render::{of_kind, one, render};

/// Everything that values can say with Kubernetes' own types.
const FULL: &str = r#"
resources:
  requests: {cpu: 0.1, memory: 64Mi, ephemeral-storage: 1e9, nvidia.com/gpu: 1}
  limits: {cpu: "1.5", memory: 268435456}
tolerations:
  - {key: dedicated, operator: Equal, value: system, effect: NoExecute, tolerationSeconds: 30}
  - {operator: Exists}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions: [{key: pool, operator: In, values: [system]}]
          matchFields: [{key: metadata.name, operator: NotIn, values: [node-1]}]
    preferredDuringSchedulingIgnoredDuringExecution:
      - {weight: 5, preference: {matchExpressions: [{key: disk, operator: Exists}]}}
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: zone
        labelSelector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: DoesNotExist}]}
        namespaceSelector: {}
        namespaces: [mcp]
        matchLabelKeys: [d]
        mismatchLabelKeys: [e]
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - {weight: 1, podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {a: b}}}}
nodeSelector: {pool: system}
priorityClassName: system-cluster-critical
networkPolicy:
  metricsFrom:
    - {namespaceSelector: {matchLabels: {team: metrics}}, podSelector: {matchExpressions: [{key: app, operator: In, values: [p]}]}}
    - {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}
  egress:
    - ports: [{port: 4318, protocol: TCP}, {port: 8000, endPort: 9000}, {port: otlp}]
      to: [{podSelector: {matchLabels: {app: otel}}}]
    - {}
"#;

#[test]
fn a_budget_protects_several_replicas_and_does_not_block_the_drain_of_one() {
    for (replicas, budgets) in [("replicas=1", 0), ("replicas=2", 1), ("replicas=5", 1)] {
        let objects = render(&[replicas]).unwrap();
        let found = of_kind(&objects, "PodDisruptionBudget");
        assert_eq!(found.len(), budgets, "{replicas}");
        for budget in found {
            let selector =
                json!({"matchLabels": one(&objects, "Deployment")["spec"]["selector"]["matchLabels"]});
            let expected = json!({
                "maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector,
            });
            assert_eq!(budget["spec"], expected);
        }
    }
}

#[test]
fn replicas_are_spread_over_nodes_and_replaced_without_a_gap() {
    let objects = render(&["replicas=3"]).unwrap();
    let deployment = one(&objects, "Deployment");
    let spec = &deployment["spec"];
    assert_eq!(spec["replicas"], 3);
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    assert_eq!(spec["strategy"], rolling);
    let spread = json!([{
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": spec["selector"]["matchLabels"]},
        "matchLabelKeys": ["pod-template-hash"],
    }]);
    assert_eq!(spec["template"]["spec"]["topologySpreadConstraints"], spread);
    // Otherwise the constraint and the budget would count no Pod.
    let labels = &spec["template"]["metadata"]["labels"];
    for (key, value) in spec["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(labels[key], *value, "{key}");
    }
}

#[test]
fn values_with_kubernetes_own_types_are_taken_whole_and_rendered_unchanged() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(FULL.as_bytes()).unwrap();
    let objects = render(&[&format!("@{}", file.path().display())]).unwrap();
    let values: Value = serde_yaml::from_str(FULL).unwrap();
    let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
    for field in ["tolerations", "affinity", "nodeSelector", "priorityClassName"] {
        assert_eq!(pod[field], values[field], "{field}");
    }
    let resources = &pod["containers"][0]["resources"];
    for list in ["requests", "limits"] {
        let rendered = resources[list].as_object().unwrap();
        let given = values["resources"][list].as_object().unwrap();
        assert_eq!(
            rendered.keys().collect::<Vec<_>>(),
            given.keys().collect::<Vec<_>>()
        );
    }
    let policy = &one(&objects, "NetworkPolicy")["spec"];
    assert_eq!(
        policy["ingress"][0]["from"],
        values["networkPolicy"]["metricsFrom"]
    );
    let egress = policy["egress"].as_array().unwrap();
    let given = values["networkPolicy"]["egress"].as_array().unwrap();
    assert!(egress.ends_with(given), "{egress:?}");
}

#[test]
fn a_misspelt_field_of_kubernetes_own_types_is_refused() {
    let rows = [
        ("resources.limit.memory=1Gi", "/resources"),
        ("resources.limits.memory=lots", "/resources/limits/memory"),
        ("resources.requests.cpu=-1", "/resources/requests/cpu"),
        ("tolerations[0].keys=dedicated", "/tolerations/0"),
        ("tolerations[0].effect=NoRun", "/tolerations/0/effect"),
        ("affinity.nodeAffinty.x=1", "/affinity"),
        ("affinity.podAffinity.required=1", "/affinity/podAffinity"),
        (
            "networkPolicy.metricsFrom[0].podSelectors.matchLabels.a=b",
            "/networkPolicy/metricsFrom/0",
        ),
        (
            "networkPolicy.metricsFrom[0].podSelector.a=b",
            "/networkPolicy/metricsFrom/0/podSelector",
        ),
        ("networkPolicy.egress[0].port=4318", "/networkPolicy/egress/0"),
        (
            "networkPolicy.egress[0].ports[0].port=70000",
            "/networkPolicy/egress/0/ports/0/port",
        ),
        ("podLabels.team=the platform", "/podLabels/team"),
        ("nodeSelector.pool=the pool", "/nodeSelector/pool"),
        ("priorityClassName=High", "/priorityClassName"),
    ];
    for (set, place) in rows {
        let Err(message) = render(&[set]) else {
            panic!("{set} was taken")
        };
        assert!(
            message.contains(place),
            "{set} was refused for another reason: {message}"
        );
    }
}
