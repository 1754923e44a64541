//! Tests which ports and hosts the network policy opens.

use super::*;

#[test]
fn the_network_policy_opens_the_ports_of_every_endpoint_and_no_metadata_service() {
    let server = quickstart_with(json!({
        "entra": {"authority": "https://entra.test.example:8443"},
        "network": {"ingressFrom": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]},
    }));
    let policy = serde_json::to_value(children(&server).network_policy.unwrap().spec.unwrap()).unwrap();
    let ports: Vec<_> = policy["egress"][1]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["port"].clone())
        .collect();
    assert_eq!(ports, [json!(443), json!(8443)]);
    let except = |peer: usize| policy["egress"][1]["to"][peer]["ipBlock"]["except"].clone();
    assert_eq!(
        except(0),
        json!(["169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32"])
    );
    assert_eq!(
        except(1),
        json!(["fd00:ec2::/32", "fd20:ce::254/128", "fe80::/10"])
    );
    assert_eq!(
        policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"]["app"],
        "gateway"
    );
    let operator = &policy["ingress"][1]["from"][0];
    assert_eq!(
        operator["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"],
        "behalf-system"
    );
    assert!(
        operator["podSelector"].is_object(),
        "not every Pod of that namespace"
    );
}

#[test]
fn the_example_of_monitoring_admits_prometheus_beside_the_operator() {
    let example = server(include_str!("../../../../../examples/monitoring.yaml"));
    let policy = serde_json::to_value(children(&example).network_policy.unwrap().spec.unwrap()).unwrap();
    let readers = policy["ingress"][1]["from"].as_array().unwrap();
    let namespaces: Vec<_> = readers
        .iter()
        .map(|peer| &peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"])
        .collect();
    assert_eq!(namespaces, ["behalf-system", "monitoring"]);
}

/// The spec of the network policy of the quickstart with these fields.
fn policy(patch: Value) -> Value {
    let children = children(&quickstart_with(patch));
    serde_json::to_value(children.network_policy.unwrap().spec.unwrap()).unwrap()
}

/// The egress rules without the one for DNS.
fn egress(patch: Value) -> Vec<Value> {
    let rules = policy(patch)["egress"].as_array().unwrap().clone();
    rules[1..].to_vec()
}

#[test]
fn a_pod_of_the_cluster_is_reachable_only_where_a_host_of_the_spec_is_a_service() {
    let selectors = |rules: &[Value]| {
        rules
            .iter()
            .filter(|rule| rule.to_string().contains("namespaceSelector"))
            .count()
    };
    assert_eq!(selectors(&egress(json!({}))), 0);
    let mut plan = crate::testing::plan(&server(QUICKSTART));
    for host in [
        "https://entra.identity.svc:8443",
        "https://entra.identity.svc.cluster.local:8443",
    ] {
        plan.entra.authority = host.parse().unwrap();
        let policy = build(&plan, None).unwrap().network_policy.unwrap().spec.unwrap();
        let rules = serde_json::to_value(policy.egress.unwrap()).unwrap();
        let service = json!({
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "identity"}}}],
            "ports": [{"protocol": "TCP", "port": 8443}],
        });
        assert_eq!(rules[2], service);
        assert_eq!(rules[1]["ports"], json!([{"protocol": "TCP", "port": 443}]));
    }
}

#[rstest]
#[case::outside_the_cluster("rediss://redis.example:6380", json!([443, 6380]), None)]
#[case::a_service("redis://redis.data.svc:6379", json!([443]), Some(("data", 6379)))]
fn the_session_store_is_reachable(
    #[case] endpoint: &str,
    #[case] ports: Value,
    #[case] service: Option<(&str, u16)>,
) {
    let rules = egress(redis(json!({"endpoints": [endpoint]})));
    let open: Vec<_> = rules[0]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["port"].clone())
        .collect();
    assert_eq!(Value::from(open), ports);
    let expected = service.map(|(namespace, port)| {
        json!({
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}],
            "ports": [{"protocol": "TCP", "port": port}],
        })
    });
    assert_eq!(rules.get(1), expected.as_ref());
}

#[test]
fn the_collector_of_traces_is_reachable() {
    let rules = egress(json!({"tracing": {"endpoint": "http://otel.obs.svc:4318"}}));
    let service = json!({
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "obs"}}}],
        "ports": [{"protocol": "TCP", "port": 4318}],
    });
    assert_eq!(rules.get(1), Some(&service));
}

#[rstest]
#[case::a_service("http://squid.egress.svc:3128", Some(json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "egress"}}}])), json!([443]))]
#[case::an_address("http://10.1.2.3:3128", Some(json!([{"ipBlock": {"cidr": "10.1.2.3/32"}}])), json!([443]))]
#[case::an_address_of_ipv6("http://[fd00::7]:3128", Some(json!([{"ipBlock": {"cidr": "fd00::7/128"}}])), json!([443]))]
#[case::a_name("http://proxy.corp.example:3128", None, json!([443, 3128]))]
fn the_proxy_of_the_installation_is_reachable(
    #[case] address: &str,
    #[case] peers: Option<Value>,
    #[case] internet: Value,
) {
    let mut plan = crate::testing::plan(&server(QUICKSTART));
    plan.egress_proxy = Some(egress_proxy(address));
    let policy = build(&plan, None).unwrap().network_policy.unwrap().spec.unwrap();
    let rules = serde_json::to_value(policy.egress.unwrap()).unwrap();
    let open = rules[1]["ports"].as_array().unwrap().iter();
    let open: Vec<_> = open.map(|port| port["port"].clone()).collect();
    assert_eq!(Value::from(open), internet);
    let rule = peers.map(|to| json!({"to": to, "ports": [{"protocol": "TCP", "port": 3128}]}));
    assert_eq!(rules.get(2), rule.as_ref());
}

/// A proxy leads to the internet, so that the author of the object names it in `allow`, or not.
#[rstest]
#[case::a_service("http://squid.egress.svc:3128")]
#[case::an_address("http://10.1.2.3:3128")]
#[case::an_address_of_ipv6("http://[fd00::7]:3128")]
#[case::a_name("http://proxy.corp.example:3128")]
fn without_internet_the_proxy_is_not_reachable(#[case] address: &str) {
    let disabled = quickstart_with(json!({"network": {"egress": {"internet": "Disabled"}}}));
    let mut plan = crate::testing::plan(&disabled);
    plan.egress_proxy = Some(egress_proxy(address));
    let policy = build(&plan, None).unwrap().network_policy.unwrap().spec.unwrap();
    assert_eq!(policy.egress.unwrap().len(), 1, "DNS alone");
}

#[test]
fn without_internet_only_dns_and_the_destinations_of_the_spec_are_reachable() {
    let proxy =
        json!({"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"protocol": "TCP", "port": 3128}]});
    let network = |allow: Value| json!({"network": {"egress": {"internet": "Disabled", "allow": allow}}});
    assert_eq!(egress(network(json!([]))), Vec::<Value>::new());
    assert_eq!(egress(network(json!([proxy]))), [proxy]);
}

#[test]
fn port_9090_is_open_to_the_operator_and_to_those_who_may_scrape_it() {
    let prometheus =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}});
    let peers = |patch: Value| policy(patch)["ingress"][1]["from"].as_array().unwrap().clone();
    assert_eq!(peers(json!({})).len(), 1);
    let peers = peers(json!({"network": {"metricsFrom": [prometheus]}}));
    assert_eq!(peers.len(), 2);
    assert_eq!(peers[1], prometheus);

    // Outside a cluster no operator connects to the Pods, and a rule without peers would admit all traffic.
    let mut plan = crate::testing::plan(&server(QUICKSTART));
    plan.operator_namespace = None;
    let policy = build(&plan, None).unwrap().network_policy.unwrap().spec.unwrap();
    assert_eq!(policy.ingress.unwrap().len(), 1);
}

#[test]
fn the_metrics_of_the_built_in_server_are_open_to_those_alone_who_may_scrape_them() {
    let prometheus =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}});
    let scraped = json!({"network": {"metricsFrom": [prometheus]}});
    let rule = |patch: Value| policy(patch)["ingress"].get(2).cloned();
    assert_eq!(rule(json!({})), None);
    assert_eq!(
        rule(scraped.clone()),
        Some(json!({"from": [prometheus], "ports": [{"port": 3001, "protocol": "TCP"}]}))
    );

    // Port 3001 of another image is not known to serve metrics.
    let mut other = server(CONTAINER);
    other.spec.network = serde_json::from_value(scraped["network"].clone()).unwrap();
    let policy = children(&other).network_policy.unwrap().spec.unwrap();
    assert_eq!(policy.ingress.unwrap().len(), 2);
}
