//! Builds the `HTTPRoute` of the Pods.

use behalf_contract::ports;

use super::gateway_api::{
    BackendRef, HttpRoute, HttpRouteSpec, Match, PathMatch, RouteParent, Rule, Timeouts,
};
use super::{Applied, ChildKind, Children, Existing, metadata};
use crate::controller::plan::{Plan, RoutePlan};

impl ChildKind for HttpRoute {
    const KIND: &'static str = "HTTPRoute";
    const IS_BUILT_IN: bool = false;

    /// True without `spec.route`.
    fn is_unused(&self, children: &Children<Applied>, _: &Existing) -> bool {
        children.http_route.is_none()
    }
}

/// No limit: an event stream stays open for as long as its client listens.
const UNLIMITED: &str = "0s";

/// Sends every request for the host of `publicUrl` to the Service. Every field that the API server would fill in is written here,
/// so that the stored route equals this one.
pub(super) fn build(plan: &Plan) -> Option<HttpRoute> {
    let RoutePlan::Gateway { host, parents } = &plan.route else {
        return None;
    };
    let mut route = HttpRoute::new(
        &plan.object.name,
        HttpRouteSpec {
            parent_refs: parents.iter().map(RouteParent::from).collect(),
            hostnames: vec![host.clone()],
            rules: vec![Rule {
                matches: vec![Match {
                    path: PathMatch {
                        kind: "PathPrefix".to_owned(),
                        value: "/".to_owned(),
                    },
                }],
                backend_refs: vec![BackendRef {
                    group: String::new(),
                    kind: "Service".to_owned(),
                    name: plan.object.name.clone(),
                    port: i32::from(ports::PUBLIC),
                    weight: 1,
                }],
                timeouts: Timeouts {
                    request: UNLIMITED.to_owned(),
                    backend_request: UNLIMITED.to_owned(),
                },
            }],
        },
    );
    route.metadata = metadata(plan, plan.object.name.clone());
    Some(route)
}
