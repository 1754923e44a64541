//! Builds the Service of the Pods.

use behalf_contract::ports;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{ChildKind, metadata};
use crate::controller::names;
use crate::controller::plan::Plan;

impl ChildKind for Service {
    const KIND: &'static str = "Service";
}

/// The public port alone; probes and status are for the kubelet and the operator, which use Pod addresses.
pub(super) fn build(plan: &Plan) -> Service {
    let port = i32::from(ports::PUBLIC);
    Service {
        metadata: metadata(plan, plan.object.name.clone()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(names::selector(&plan.object.name)),
            ports: Some(vec![ServicePort {
                name: Some("http".to_owned()),
                app_protocol: Some("http".to_owned()),
                protocol: Some("TCP".to_owned()),
                port,
                // A number: not every controller finds the names of ports of init containers.
                target_port: Some(IntOrString::Int(port)),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
