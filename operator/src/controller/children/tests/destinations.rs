//! Compares the network policy with the addresses in the rendered configuration of both programs.

use behalf_simulators::network_policy::{Direction, Labels, Peer, Protocol};

use super::rendered::{INTERNET, POD, render};
use super::*;
use crate::api::v1alpha1::Internet;
use crate::controller::dereference::cluster_state::ClusterState;
use crate::controller::plan::Plan;
use crate::controller::validate::validate;

/// The hosts of Entra and Azure DevOps.
const CLOUD: [&str; 4] = [
    "https://dev.azure.com",
    "https://login.microsoftonline.com",
    "https://vsrm.dev.azure.com",
    "https://vssps.dev.azure.com",
];

fn plan_with(patch: Value, proxy: Option<&str>) -> Plan {
    let mut plan = plan(&quickstart_with(patch));
    plan.egress_proxy = proxy.map(egress_proxy);
    plan
}

fn store(endpoint: &str) -> Value {
    redis(json!({"endpoints": [endpoint]}))
}

#[rstest]
#[case::memory(json!({}), None)]
#[case::exchange_in_the_server(json!({"tokenExchange": {"at": "Server"}}), None)]
#[case::another_cloud(json!({"entra": {"authority": "https://login.microsoftonline.us"}}), None)]
#[case::another_port_of_the_authority(json!({"entra": {"authority": "https://entra.test.example:8443"}}), None)]
#[case::redis_outside(store("rediss://redis.contoso.example:6380"), None)]
#[case::redis_at_an_address(store("rediss://10.1.2.3:6380"), None)]
#[case::redis_at_an_address_of_ipv6(store("rediss://[fd12::7]:6380"), None)]
#[case::redis_of_another_namespace(store("redis://redis.data.svc:6379"), None)]
#[case::redis_in_a_stateful_set(store("redis://redis-0.redis.data.svc.cluster.local:6379"), None)]
#[case::redis_of_the_own_namespace(store("redis://redis:6379"), None)]
#[case::nodes_of_a_redis_cluster(
    redis(json!({"topology": "Cluster", "endpoints": ["rediss://redis.data.svc:6379", "rediss://one.redis.example:7000"]})),
    None
)]
#[case::redis_with_entra(
    redis(json!({"endpoints": ["rediss://r.westeurope.redis.azure.net:10000"], "auth": {"type": "Entra", "secret": null}})),
    None
)]
#[case::traces_in_the_cluster(json!({"tracing": {"endpoint": "http://otel.obs.svc:4318"}}), None)]
#[case::traces_outside(json!({"tracing": {"endpoint": "https://otel.contoso.example:4318"}}), None)]
#[case::proxy_in_the_cluster(json!({}), Some("http://squid.egress.svc:3128"))]
#[case::proxy_outside(json!({}), Some("http://proxy.corp.example:3128"))]
#[case::proxy_at_an_address(json!({}), Some("http://10.1.2.3:3128"))]
#[case::proxy_at_an_address_of_ipv6(json!({}), Some("http://[fd12::7]:3128"))]
#[case::proxy_that_serves_neither_redis_nor_traces(
    {
        let mut patch = store("rediss://redis.contoso.example:6380");
        crate::testing::merge(&mut patch, json!({"tracing": {"endpoint": "http://otel.contoso.example:4318"}}));
        patch
    },
    Some("http://squid.egress.svc:3128")
)]
fn the_policy_opens_every_address_of_the_configuration(#[case] patch: Value, #[case] proxy: Option<&str>) {
    let rendered = render(&plan_with(patch, proxy));
    assert_eq!(rendered.unreachable(), Vec::<String>::new());
    rendered.assert_closed("the object", Internet::Enabled);
    // Discovery and clients' metadata documents name further hosts.
    assert!(rendered.reaches(&Peer::Address(INTERNET), 443));
}

#[rstest]
#[case::memory(json!({}), None, &CLOUD)]
#[case::services_of_the_spec(
    {
        let mut patch = store("redis://redis:6379");
        crate::testing::merge(&mut patch, json!({"tracing": {"endpoint": "http://otel.obs.svc:4318"}}));
        patch
    },
    None,
    &CLOUD
)]
#[case::redis_outside(store("rediss://redis.contoso.example:6380"), None, &[CLOUD[0], CLOUD[1], CLOUD[2], CLOUD[3], "rediss://redis.contoso.example:6380"])]
// A proxy leads to the internet.
#[case::proxy_in_the_cluster(json!({}), Some("http://squid.egress.svc:3128"), &CLOUD)]
#[case::proxy_of_the_own_namespace(json!({}), Some("http://redis:3128"), &CLOUD)]
fn without_internet_the_policy_opens_services_of_the_configuration_alone(
    #[case] mut patch: Value,
    #[case] proxy: Option<&str>,
    #[case] closed: &[&str],
) {
    crate::testing::merge(
        &mut patch,
        json!({"network": {"egress": {"internet": "Disabled"}}}),
    );
    let rendered = render(&plan_with(patch.clone(), proxy));
    assert_eq!(rendered.unreachable(), closed);
    rendered.assert_closed("the object", Internet::Disabled);

    // The documentation tells an author to do this.
    let allow = json!([
        {"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": 443}, {"port": 6380}]},
        {"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "squid"}}}], "ports": [{"port": 3128}]},
        {"to": [{"podSelector": {"matchLabels": {"app": "redis"}}}], "ports": [{"port": 3128}]},
    ]);
    crate::testing::merge(&mut patch, json!({"network": {"egress": {"allow": allow}}}));
    let rendered = render(&plan_with(patch, proxy));
    assert_eq!(rendered.unreachable(), Vec::<String>::new());
}

/// The installation allows what the example names, and the references of the example exist.
fn plan_of_example(server: &McpServer) -> Plan {
    let authorities: k8s_openapi::api::core::v1::ConfigMap =
        serde_json::from_value(json!({"data": {"ca.crt": "-----BEGIN CERTIFICATE-----"}})).unwrap();
    let found = ClusterState {
        certificate_authority: Some(authorities.clone()),
        store_certificate_authority: Some(authorities),
        ..crate::testing::shared(server)
    };
    validate(server, &found, &crate::testing::defaults()).unwrap()
}

/// The objects of the files in a folder and in the folders below it, with the names of the files.
fn examples(folder: &std::path::Path, found: &mut Vec<(String, McpServer)>) {
    use serde::Deserialize as _;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            examples(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            // The files of OpenTofu have variables in place of values.
            if text.contains("${") {
                continue;
            }
            let documents = serde_yaml::Deserializer::from_str(&text);
            let documents = documents.map(|document| Value::deserialize(document).unwrap());
            for document in documents.filter(|document| document["kind"] == "McpServer") {
                let manifest = serde_yaml::to_string(&document).unwrap();
                found.push((path.display().to_string(), server(&manifest)));
            }
        }
    }
}

#[test]
fn the_policy_of_every_example_opens_what_its_configuration_names() {
    let mut all = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    examples(std::path::Path::new(folder), &mut all);
    assert!(all.len() >= 9, "{folder} has only {} McpServers", all.len());
    for (name, server) in all {
        let rendered = render(&plan_of_example(&server));
        assert_eq!(rendered.unreachable(), Vec::<String>::new(), "{name}");
        rendered.assert_closed(&name, server.spec.network.egress.internet);
    }
}

#[test]
fn names_are_resolved_in_the_cluster_and_on_the_node() {
    let rendered = render(&plan_with(
        json!({"network": {"egress": {"internet": "Disabled"}}}),
        None,
    ));
    for peer in [
        Peer::pod("kube-system", [("k8s-app", "kube-dns")]),
        // NodeLocal DNSCache.
        Peer::Address([169, 254, 20, 10].into()),
    ] {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            assert!(
                rendered.policy.admits(Direction::Egress, &peer, protocol, 53),
                "{peer:?} {protocol:?}"
            );
        }
    }
}

#[test]
fn clients_reach_the_public_port_and_the_named_readers_the_internal_one() {
    let gateway = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}});
    let prometheus =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}});
    let open = render(&plan_with(json!({}), None));
    let limited = render(&plan_with(
        json!({"network": {"ingressFrom": [gateway], "metricsFrom": [prometheus]}}),
        None,
    ));
    let operator = Peer::pod("behalf-system", [("app.kubernetes.io/name", "behalf-operator")]);
    let neighbour = Peer::pod("behalf-system", [("app", "other")]).at(POD);
    let gateway = Peer::pod("gateways", []);
    let scraper = Peer::pod("monitoring", []);
    let balancer = Peer::Address([10, 0, 0, 9].into());

    for (name, rendered) in [("open", &open), ("limited", &limited)] {
        let labels = rendered.children.deployment.spec.as_ref().unwrap();
        let labels = labels.template.metadata.as_ref().unwrap().labels.clone();
        let labels: Labels = labels.unwrap();
        assert!(
            rendered.policy.selects(&labels),
            "{name}: the policy is not for {labels:?}"
        );
        let port_of = |file: &Value, listener: &str| -> Option<u16> {
            let address: std::net::SocketAddr = file["listen"][listener].as_str()?.parse().unwrap();
            Some(address.port())
        };
        let port = |listener: &str| {
            let mut files = rendered.files.iter();
            files.find_map(|file| port_of(file, listener)).unwrap()
        };
        let service = serde_json::to_value(&rendered.children.service).unwrap();
        assert_eq!(
            service.pointer("/spec/ports/0/targetPort"),
            Some(&json!(port("public")))
        );
        let admits = |peer: &Peer, listener: &str| {
            let port = port(listener);
            rendered
                .policy
                .admits(Direction::Ingress, peer, Protocol::Tcp, port)
        };
        let is_limited = name == "limited";
        assert!(admits(&operator, "internal"), "{name}");
        assert!(admits(&gateway, "public"), "{name}");
        assert_eq!(admits(&scraper, "internal"), is_limited, "{name}");
        assert_eq!(admits(&neighbour, "public"), !is_limited, "{name}");
        assert_eq!(admits(&balancer, "public"), !is_limited, "{name}");
        for peer in [&neighbour, &gateway, &balancer] {
            assert!(!admits(peer, "internal"), "{name}: {peer:?}");
        }
        // The metrics of the built-in server are beside its probes.
        assert_eq!(admits(&scraper, "probes"), is_limited, "{name}");
        assert!(!admits(&scraper, "mcp"), "{name}");
        for listener in ["mcp", "probes"] {
            for peer in [&operator, &neighbour, &gateway, &balancer] {
                assert!(!admits(peer, listener), "{name}: {peer:?} {listener}");
            }
        }
    }
}
