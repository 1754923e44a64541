//! Requests and limits of a container.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::rule;

/// Maximum number of resources that one list may name. The API server computes the cost of the rules below from it: it takes each
/// quantity for a text of 3 MB.
const NAMES: u32 = 8;

/// Requests and limits of a container. It has no claims, because the Pods have no device to claim.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rule(
    // A number that is no text has no comparison with a quantity but the difference.
    "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || \
     (type(self.requests[name]) == int ? \
     (type(self.limits[name]) == int ? self.requests[name] <= self.limits[name] : \
     quantity(self.limits[name]).sub(self.requests[name]).compareTo(quantity('0')) >= 0) : \
     (type(self.limits[name]) == int ? quantity(self.requests[name]).sub(self.limits[name]).compareTo(quantity('0')) <= 0 : \
     !quantity(self.requests[name]).isGreaterThan(quantity(self.limits[name])))))",
    "resources must not request more than their limit: lower the request, or raise the limit of the same name",
)]))]
pub struct Resources {
    /// Amount that the scheduler reserves for the container, by the name of the resource: cpu, memory and others. A resource
    /// that is not named keeps its default, but never requests more than its limit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, Quantity>,

    /// Maximum that the container may use, by the name of the resource: cpu, memory and others. A resource that is not
    /// named keeps its default, but never has a limit below its request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

fn quantities(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": NAMES,
        "additionalProperties": {"x-kubernetes-int-or-string": true},
        "x-kubernetes-validations": [rule(
            "self.all(name, type(self[name]) == int ? self[name] >= 0 : \
             isQuantity(self[name]) && !self[name].startsWith('-'))",
            "resources must be quantities that are not negative, for example 250m of cpu or 128Mi of memory",
        )],
    })
}
