//! Builds the `NetworkPolicy` of the Pods.

use std::collections::{BTreeMap, BTreeSet};

use behalf_contract::{namespace_of_service, ports};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use url::{Host, Url};

use super::{Applied, ChildKind, Children, Existing, metadata};
use crate::api::v1alpha1::Internet;
use crate::controller::names;
use crate::controller::plan::{Plan, ServerPlan};

impl ChildKind for NetworkPolicy {
    const KIND: &'static str = "NetworkPolicy";

    /// True if `network.policy` is `Open`.
    fn is_unused(&self, children: &Children<Applied>, _: &Existing) -> bool {
        children.network_policy.is_none()
    }
}

/// Builds a policy that admits only the traffic that the Pods need. No policy blocks the kubelet's probes.
pub(super) fn build(plan: &Plan) -> NetworkPolicy {
    let mut ingress = vec![NetworkPolicyIngressRule {
        from: (!plan.network.ingress_from.is_empty()).then(|| plan.network.ingress_from.clone()),
        ports: Some(vec![port("TCP", ports::PUBLIC)]),
    }];
    let operator = plan.operator_namespace.as_deref().map(operator);
    let readers: Vec<NetworkPolicyPeer> = operator
        .into_iter()
        .chain(plan.network.metrics_from.iter().cloned())
        .collect();
    // A rule without peers would admit all traffic.
    if !readers.is_empty() {
        ingress.push(NetworkPolicyIngressRule {
            from: Some(readers),
            ports: Some(vec![port("TCP", ports::INTERNAL)]),
        });
    }
    // The built-in server has metrics of its own.
    if matches!(plan.kind, ServerPlan::AzureDevOps(_)) && !plan.network.metrics_from.is_empty() {
        ingress.push(NetworkPolicyIngressRule {
            from: Some(plan.network.metrics_from.clone()),
            ports: Some(vec![port("TCP", ports::SERVER_PROBES)]),
        });
    }
    let mut egress = vec![NetworkPolicyEgressRule {
        // No peers: DNS may run in the cluster or on the node.
        to: None,
        ports: Some(vec![port("UDP", 53), port("TCP", 53)]),
    }];
    if plan.network.egress.internet == Internet::Enabled {
        egress.push(NetworkPolicyEgressRule {
            to: Some(everything_but_metadata_services()),
            ports: Some(
                internet_ports(plan)
                    .into_iter()
                    .map(|number| port("TCP", number))
                    .collect(),
            ),
        });
        egress.extend(egress_proxy(plan));
    }
    egress.extend(
        services(plan)
            .into_iter()
            .map(|(namespace, number)| NetworkPolicyEgressRule {
                to: Some(vec![pods_of(namespace)]),
                ports: Some(vec![port("TCP", number)]),
            }),
    );
    egress.extend(plan.network.egress.allow.iter().cloned());
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

/// The rule for the installation's proxy, which leads to the internet. A proxy that is outside of the cluster and has a name is
/// among [`internet_ports`].
fn egress_proxy(plan: &Plan) -> Option<NetworkPolicyEgressRule> {
    let url = plan.egress_proxy.as_ref()?.https.url();
    let address = |cidr: String| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr, except: None }),
        ..NetworkPolicyPeer::default()
    };
    let peer = match url.host()? {
        Host::Domain(_) => pods_of(namespace(plan, url)?),
        Host::Ipv4(ip) => address(format!("{ip}/32")),
        Host::Ipv6(ip) => address(format!("{ip}/128")),
    };
    Some(NetworkPolicyEgressRule {
        to: Some(vec![peer]),
        ports: Some(vec![port("TCP", url.port_or_known_default()?)]),
    })
}

fn pods_of(namespace: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(labels("kubernetes.io/metadata.name", namespace)),
        ..NetworkPolicyPeer::default()
    }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(number))),
        end_port: None,
    }
}

fn labels(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        ..LabelSelector::default()
    }
}

fn operator(namespace: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(labels("kubernetes.io/metadata.name", namespace)),
        pod_selector: Some(labels("app.kubernetes.io/name", names::OPERATOR_NAME)),
        ip_block: None,
    }
}

/// Addresses of Entra and Azure DevOps change, and a network policy knows no names. The excluded addresses are
/// the metadata services of clouds, where a Pod could get the node's identity: link-local addresses, the
/// hosts' agents of Azure and Alibaba Cloud, and the metadata services of AWS and Google over IPv6. Some network
/// plugins also match addresses of the cluster's Pods.
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
    ]
}

/// The ports of hosts outside the cluster. Discovery may name further hosts, on 443. A name without a dot may also be one that the
/// node's DNS completes.
fn internet_ports(plan: &Plan) -> BTreeSet<u16> {
    let proxy = plan.egress_proxy.as_ref().map(|proxy| proxy.https.url());
    plan.outgoing()
        .into_iter()
        .chain(proxy.filter(|url| url.domain().is_some()))
        .filter(|url| url.domain().and_then(namespace_of_service).is_none())
        .filter_map(Url::port_or_known_default)
        .chain([443])
        .collect()
}

/// Namespace and port of each host that is a Service of the cluster. A network policy applies to the port of
/// the Pod behind a Service, so both ports must be equal.
fn services(plan: &Plan) -> BTreeSet<(&str, u16)> {
    plan.outgoing()
        .into_iter()
        .filter_map(|url| Some((namespace(plan, url)?, url.port_or_known_default()?)))
        .collect()
}

/// The namespace of the Service that an address names. The cluster's DNS completes a name without a dot with the Pod's own
/// namespace.
fn namespace<'a>(plan: &'a Plan, url: &'a Url) -> Option<&'a str> {
    let name = url.domain()?;
    let is_completed = !name.contains('.') && !name.eq_ignore_ascii_case("localhost");
    namespace_of_service(name).or_else(|| is_completed.then_some(plan.object.namespace.as_str()))
}
