//! The part of the `HTTPRoute` of the Gateway API (`gateway.networking.k8s.io/v1`) that the operator writes and reads. The crate
//! `gateway-api` follows other versions of kube.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1 as api;

/// The spec of an `HTTPRoute`: its Gateways, its hosts, and the Service behind them.
#[derive(CustomResource, Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    root = "HttpRoute",
    plural = "httproutes",
    namespaced,
    status = "HttpRouteStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteSpec {
    /// The Gateways that the route attaches to.
    pub parent_refs: Vec<RouteParent>,

    /// Host names of the requests that the route applies to.
    pub hostnames: Vec<String>,

    /// The requests that go to a Service, and their time limits.
    pub rules: Vec<Rule>,
}

/// A Gateway, or one of its listeners.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteParent {
    /// The group; `gateway.networking.k8s.io`.
    pub group: String,

    /// The kind; `Gateway`.
    pub kind: String,

    /// The namespace; absent for that of the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,

    /// Name of the Gateway.
    pub name: String,

    /// The listener; absent for every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// A rule: the requests with one of the paths go to the Pods of a Service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// The rule applies to a request that one of these matches.
    pub matches: Vec<Match>,

    /// The Services that get the requests.
    pub backend_refs: Vec<BackendRef>,

    /// Time limits of the requests.
    pub timeouts: Timeouts,
}

/// The condition of a rule on a request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Match {
    /// The condition on the path of the request.
    pub path: PathMatch,
}

/// A condition on a path.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PathMatch {
    /// How to compare; `PathPrefix`.
    #[serde(rename = "type")]
    pub kind: String,

    /// The path, or its beginning with `PathPrefix`.
    pub value: String,
}

/// A Service that gets requests.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BackendRef {
    /// The group; empty for a Service.
    pub group: String,

    /// The kind; `Service`.
    pub kind: String,

    /// Name of the Service.
    pub name: String,

    /// Port of the Service.
    pub port: i32,

    /// The Service's share of the requests, relative to the weights of the others.
    pub weight: i32,
}

/// Time limits of requests, as durations of the Gateway API; `0s` is none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    /// Limit of the client's request.
    pub request: String,

    /// Limit of one request to the Pods.
    pub backend_request: String,
}

/// The status, which the controllers of the Gateways write.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpRouteStatus {
    /// One entry for each parent and controller.
    pub parents: Vec<RouteParentStatus>,
}

/// The conditions that one controller writes for one Gateway.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteParentStatus {
    /// The parent, as the route names it.
    pub parent_ref: RouteParent,

    /// `Accepted`, `ResolvedRefs` and others.
    pub conditions: Vec<RouteCondition>,
}

/// A condition of a route. Without its time: the API server stores text there that no parser of times reads, and one object must
/// not stop the watch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteCondition {
    /// Type of the condition, such as `Accepted`.
    #[serde(rename = "type")]
    pub kind: String,

    /// `True`, `False` or `Unknown`.
    pub status: String,

    /// The reason, one word.
    pub reason: String,

    /// The controller's own words.
    pub message: String,

    /// The generation of the route that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl From<&api::ParentRef> for RouteParent {
    fn from(parent: &api::ParentRef) -> Self {
        Self {
            group: "gateway.networking.k8s.io".to_owned(),
            kind: "Gateway".to_owned(),
            namespace: parent.namespace.clone(),
            name: parent.name.clone(),
            section_name: parent.section_name.clone(),
        }
    }
}
