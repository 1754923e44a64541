//! Tests the operator's own network policy.

use std::net::Ipv4Addr;

use axum::routing::get;
use axum::{Json, Router};
use behalf_simulators::network_policy::{Direction, Peer, Policy, Protocol};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::render::{HELMS, NAMESPACE, of_kind, one, render, template};

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

/// Whether a selector with labels and expressions of the operator `In` selects a Pod.
fn selects(selector: &Value, labels: &Value) -> bool {
    let mut exact = selector["matchLabels"].as_object().into_iter().flatten();
    let mut expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    exact.all(|(key, value)| labels[key] == *value)
        && expressions.all(|expression| {
            let (key, values) = (expression["key"].as_str().unwrap(), &expression["values"]);
            expression["operator"] == "In" && values.as_array().unwrap().contains(&labels[key])
        })
}

#[test]
fn the_operator_reaches_names_the_api_server_and_its_pods_and_nothing_else() {
    let objects = render(&["watchNamespaces={two,one}"]).unwrap();
    let policy = one(&objects, "NetworkPolicy");
    let deployment = one(&objects, "Deployment");
    let test = one(&objects, "Pod");
    for labels in [
        &deployment["spec"]["template"]["metadata"]["labels"],
        &test["metadata"]["labels"],
    ] {
        assert!(
            selects(&policy["spec"]["podSelector"], labels),
            "the policy is not for {labels}"
        );
    }
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
fn the_operator_reaches_the_collector_of_its_traces_and_only_its_namespace_if_it_is_named() {
    let rule = |endpoint: &str| {
        let objects = render(&[&format!("tracing.endpoint={endpoint}")]).unwrap();
        rules(one(&objects, "NetworkPolicy"), "egress", "to").remove(3)
    };
    let of_obs = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "obs"}}}]);
    for host in ["otel.obs.svc", "otel.obs.svc.cluster.local"] {
        assert_eq!(
            rule(&format!("http://{host}:4318")),
            (vec![json!(4318)], of_obs.clone())
        );
    }
    for host in ["otel.contoso.example", "10.0.0.7", "otel.obs"] {
        assert_eq!(
            rule(&format!("https://{host}:443")),
            (vec![json!(443)], Value::Null)
        );
    }
}

/// The address of a Pod, for network plugins whose blocks of addresses contain Pods.
const POD: [u8; 4] = [10, 244, 0, 9];

/// An address outside of the cluster, and one of the API server.
const ADDRESSES: [[u8; 4]; 2] = [[203, 0, 113, 7], [10, 0, 0, 1]];

#[test]
fn the_policy_admits_every_address_of_the_operators_variables() {
    let settings: [&[&str]; 5] = [
        &[],
        &["watchNamespaces={two,one}"],
        &["clusterWide=true"],
        &["tracing.endpoint=http://otel.obs.svc:4318"],
        &["tracing.endpoint=https://otel.contoso.example:4318"],
    ];
    for set in settings {
        let objects = render(set).unwrap();
        let policy = Policy::read(one(&objects, "NetworkPolicy")).unwrap();
        let variables = crate::operator::environment(&objects);
        let variable = |name: &str| {
            let found = variables.iter().find(|(found, _)| found == name);
            found.map(|(_, value)| value.as_str())
        };
        let reaches = |peer: &Peer, port: u16| policy.admits(Direction::Egress, peer, Protocol::Tcp, port);

        let served = variable("BEHALF_WATCH_NAMESPACES").map(|list| list.split(',').collect());
        let served: Vec<&str> = served.unwrap_or_else(|| vec!["any"]);
        for namespace in &served {
            let pod = Peer::pod(namespace, [("behalf.dev/mcp-server", "azure-devops")]);
            assert!(reaches(&pod, 9090), "{set:?}: Pods of {namespace}");
            let other = Peer::pod(namespace, [("app", "other")]).at(POD.into());
            assert!(!reaches(&other, 9090), "{set:?}: a foreign Pod of {namespace}");
            assert!(!reaches(&pod.at(POD.into()), 8080), "{set:?}: clients' port");
        }
        let elsewhere = Peer::pod("elsewhere", [("behalf.dev/mcp-server", "azure-devops")]).at(POD.into());
        assert_eq!(reaches(&elsewhere, 9090), set == ["clusterWide=true"], "{set:?}");

        if let Some(endpoint) = variable("BEHALF_TRACING_ENDPOINT") {
            let endpoint: url::Url = endpoint.parse().unwrap();
            let peer = match endpoint.host_str().unwrap() {
                "otel.obs.svc" => Peer::pod("obs", [("app", "otel")]),
                _ => Peer::Address(ADDRESSES[0].into()),
            };
            assert!(
                reaches(&peer, endpoint.port_or_known_default().unwrap()),
                "{set:?}"
            );
        }
        let inside = Peer::Address(ADDRESSES[1].into());
        assert!(
            reaches(&inside, 443) && reaches(&inside, 6443),
            "{set:?}: API server"
        );
        for (peer, port) in [
            (Peer::Address([169, 254, 169, 254].into()), 80),
            (Peer::Address([168, 63, 129, 16].into()), 80),
            (Peer::Address(ADDRESSES[0].into()), 22),
            (Peer::pod("obs", [("app", "other")]).at(POD.into()), 9090),
            (Peer::pod("data", [("app", "redis")]).at(POD.into()), 6379),
        ] {
            assert!(!reaches(&peer, port), "{set:?} reaches {peer:?} on {port}");
        }

        // By this label the policies of the Pods admit the operator to their port 9090.
        let pod = &one(&objects, "Deployment")["spec"]["template"]["metadata"]["labels"];
        assert_eq!(pod["app.kubernetes.io/name"], "behalf-operator");
        let scraper = Peer::pod("monitoring", []);
        for (port, admitted) in [(8081, true), (9090, false), (443, false)] {
            let is_admitted = policy.admits(Direction::Ingress, &scraper, Protocol::Tcp, port);
            assert_eq!(is_admitted, admitted, "{set:?}: {port}");
        }
    }
}

#[test]
fn the_policy_can_be_left_out() {
    let objects = render(&["networkPolicy.enabled=false"]).unwrap();
    assert!(of_kind(&objects, "NetworkPolicy").is_empty());
}

/// A cluster whose API server listens on a port, as far as Helm asks for it. Returns its address.
async fn cluster(port: u16) -> String {
    let version = json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0"});
    let resources = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "discovery.k8s.io/v1",
        "resources": [{
            "name": "endpointslices", "singularName": "endpointslice", "namespaced": true, "kind": "EndpointSlice",
            "verbs": ["get"],
        }],
    });
    let version_of_group = json!({"groupVersion": "discovery.k8s.io/v1", "version": "v1"});
    let groups = json!({
        "kind": "APIGroupList", "apiVersion": "v1",
        "groups": [{
            "name": "discovery.k8s.io", "versions": [version_of_group], "preferredVersion": version_of_group,
        }],
    });
    let slice = json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4", "endpoints": [],
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    let mut router = Router::new();
    for (path, answer) in [
        ("/version", version),
        ("/api", json!({"kind": "APIVersions", "versions": []})),
        ("/apis", groups),
        ("/apis/discovery.k8s.io/v1", resources),
        (
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",
            slice,
        ),
    ] {
        router = router.route(path, get(move || async move { Json(answer) }));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_api_server_that_the_policy_does_not_admit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": cluster(8443).await}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let rendered = tokio::task::spawn_blocking(move || {
        for helm in HELMS {
            let ask = |value: &str| {
                let cluster = ["--dry-run=server", "--kubeconfig"];
                let call = template(helm, "behalf", NAMESPACE).args(cluster).arg(&kubeconfig);
                let answer = call.args(["--set", value]).text();
                answer.map_err(|error| behalf_runtime::error_chain(&error))
            };
            let left_out = ask("replicas=2").unwrap_err();
            assert!(
                left_out.contains("listens on port 8443, which networkPolicy.apiServerPorts does not list"),
                "{helm}: {left_out}"
            );
            for value in [
                "networkPolicy.apiServerPorts={443,8443}",
                "networkPolicy.enabled=false",
            ] {
                // Helm 4 then asks for schemas, which this cluster does not have.
                let refused = ask(value).err().unwrap_or_default();
                assert!(
                    !refused.contains("apiServerPorts"),
                    "{helm} with {value}: {refused}"
                );
            }
        }
    });
    rendered.await.unwrap();
}
