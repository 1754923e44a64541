//! How requests from outside the cluster reach the Pods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::{matches, name_rule, rule};

/// The route from outside the cluster to the Pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Makes an HTTPRoute of the Gateway API for the host of publicUrl.
    pub gateway: GatewayRoute,
}

/// The HTTPRoute of the Pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRoute {
    /// The Gateways that serve publicUrl. RouteReady is True when each of them has accepted the route.
    #[schemars(
        length(min = 1, max = 8),
        extend("x-kubernetes-list-type" = "atomic"),
        extend("x-kubernetes-validations" = [rule(
            "self.all(one, self.exists_one(other, one.name == other.name && \
             (has(one.__namespace__) ? one.__namespace__ : '') == (has(other.__namespace__) ? other.__namespace__ : '') && \
             (!has(one.sectionName) || !has(other.sectionName) || one.sectionName == other.sectionName)))",
            "spec.route.gateway.parentRefs must name each Gateway once, or several of its listeners, each once"
        )])
    )]
    pub parent_refs: Vec<ParentRef>,
}

/// A Gateway, or one of its listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// The name of the Gateway.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [name_rule()]))]
    pub name: String,

    /// Its namespace; by default that of the McpServer. Its listener must allow routes from here (allowedRoutes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = [matches(
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be the name of a namespace: a-z, 0-9 and -, starting and ending with a letter or digit"
    )]))]
    pub namespace: Option<String>,

    /// The name of a listener. By default every listener that accepts the route, also one without TLS: name the one that has the
    /// certificate of publicUrl, so that no client sends a token over plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [name_rule()]))]
    pub section_name: Option<String>,
}
