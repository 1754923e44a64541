//! The route from outside the cluster.

use url::{Host, Url};

use super::{Refusal, refuse};
use crate::api::v1alpha1::Route;
use crate::controller::names;
use crate::controller::plan::RoutePlan;

/// Returns the route to make. `has_gateway_api` says whether the cluster serves `HTTPRoute`.
pub(in crate::controller::validate) fn route(
    route: Option<&Route>,
    public_url: Option<&Url>,
    has_gateway_api: bool,
    refusals: &mut Vec<Refusal>,
) -> RoutePlan {
    let (Some(route), Some(public_url)) = (route, public_url) else {
        return RoutePlan::None;
    };
    let host = match public_url.host() {
        Some(Host::Domain(host)) if names::is_subdomain(host) => Some(host),
        _ => None,
    };
    let Some(host) = host else {
        refuse(
            refusals,
            "route",
            "needs a publicUrl with a host name: an HTTPRoute has no hostname that is an IP address; remove it or change publicUrl",
        );
        return RoutePlan::None;
    };
    if has_gateway_api {
        RoutePlan::Gateway {
            host: host.to_owned(),
            parents: route.gateway.parent_refs.clone(),
        }
    } else {
        RoutePlan::NoGatewayApi
    }
}
