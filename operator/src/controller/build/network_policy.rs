use std::collections::{BTreeMap, BTreeSet};

use behalf_contract::ports;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata;
use crate::controller::names;
use crate::controller::plan::Plan;

/// Closed but for what the Pods need. The kubelet's probes pass every policy.
pub(super) fn build(plan: &Plan) -> NetworkPolicy {
    let mut ingress = vec![NetworkPolicyIngressRule {
        from: (!plan.network.ingress_from.is_empty()).then(|| plan.network.ingress_from.clone()),
        ports: Some(vec![port("TCP", ports::PUBLIC)]),
    }];
    if let Some(namespace) = &plan.operator_namespace {
        ingress.push(NetworkPolicyIngressRule {
            from: Some(vec![operator(namespace)]),
            ports: Some(vec![port("TCP", ports::INTERNAL)]),
        });
    }
    let mut egress = vec![
        NetworkPolicyEgressRule {
            // Wherever DNS is: in the cluster, or on the node.
            to: None,
            ports: Some(vec![port("UDP", 53), port("TCP", 53)]),
        },
        NetworkPolicyEgressRule {
            to: Some(everything_but_metadata_services()),
            ports: Some(
                outgoing_ports(plan)
                    .into_iter()
                    .map(|number| port("TCP", number))
                    .collect(),
            ),
        },
    ];
    egress.extend(plan.network.egress.iter().cloned());
    NetworkPolicy {
        metadata: metadata(plan, plan.object.name.clone()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(names::selector(&plan.object.name)),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(ingress),
            egress: Some(egress),
        }),
    }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(number))),
        end_port: None,
    }
}

fn operator(namespace: &str) -> NetworkPolicyPeer {
    let labels = |key: &str, value: &str| LabelSelector {
        match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        ..LabelSelector::default()
    };
    NetworkPolicyPeer {
        namespace_selector: Some(labels("kubernetes.io/metadata.name", namespace)),
        pod_selector: Some(labels("app.kubernetes.io/name", names::OPERATOR_NAME)),
        ip_block: None,
    }
}

/// Addresses of Entra and Azure DevOps change, and a network policy knows no names. What is left out are the
/// services of clouds for their machines, where a Pod could get the node's identity: link-local addresses, the
/// hosts' agents of Azure and Alibaba Cloud, and the metadata services of AWS and Google over IPv6.
fn everything_but_metadata_services() -> Vec<NetworkPolicyPeer> {
    let block = |cidr: &str, except: &[&str]| NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: Some(except.iter().map(|&address| address.to_owned()).collect()),
        }),
        ..NetworkPolicyPeer::default()
    };
    vec![
        block(
            "0.0.0.0/0",
            &["169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32"],
        ),
        block("::/0", &["fd00:ec2::/32", "fd20:ce::254/128", "fe80::/10"]),
        // Some network plugins never match Pods of the cluster by address.
        NetworkPolicyPeer {
            namespace_selector: Some(LabelSelector::default()),
            ..NetworkPolicyPeer::default()
        },
    ]
}

fn outgoing_ports(plan: &Plan) -> BTreeSet<u16> {
    plan.outgoing()
        .into_iter()
        .filter_map(url::Url::port_or_known_default)
        .chain([443])
        .collect()
}
