//! Requests and limits of a container.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::rule;

/// Maximum number of resources that one list may name. The API server computes the cost of the rule below from it.
const NAMES: u32 = 8;

/// Requests and limits of a container. It has no claims, because the Pods have no device to claim.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
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
