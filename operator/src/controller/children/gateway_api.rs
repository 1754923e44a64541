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
    /// The Gateways.
    pub parent_refs: Vec<ParentRef>,

    /// The hosts.
    pub hostnames: Vec<String>,

    /// The rules.
    pub rules: Vec<Rule>,
}

/// A Gateway, or one of its listeners.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentRef {
    /// The group; `gateway.networking.k8s.io`.
    pub group: String,

    /// The kind; `Gateway`.
    pub kind: String,

    /// The namespace; absent for that of the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,

    /// The name.
    pub name: String,

    /// The listener; absent for every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// Which requests to send where.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// The requests.
    pub matches: Vec<Match>,

    /// Where they go.
    pub backend_refs: Vec<BackendRef>,

    /// For how long.
    pub timeouts: Timeouts,
}

/// Which requests.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Match {
    /// Their path.
    pub path: PathMatch,
}

/// Which paths.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PathMatch {
    /// How to compare; `PathPrefix`.
    #[serde(rename = "type")]
    pub kind: String,

    /// The path.
    pub value: String,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BackendRef {
    /// The group; empty for a Service.
    pub group: String,

    /// The kind; `Service`.
    pub kind: String,

    /// The name.
    pub name: String,

    /// The port.
    pub port: i32,

    /// The share of the requests.
    pub weight: i32,
}

/// Time limits of requests, as durations of the Gateway API; `0s` is none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    /// Of the client's request.
    pub request: String,

    /// Of one request to the Pods.
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
    pub parent_ref: ParentRef,

    /// `Accepted`, `ResolvedRefs` and others.
    pub conditions: Vec<RouteCondition>,
}

/// A condition of a route. Without its time: the API server stores text there that no parser of times reads, and one object must
/// not stop the watch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteCondition {
    /// The type.
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

impl From<&api::ParentRef> for ParentRef {
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
