//! Settings of the Pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, Toleration, TopologySpreadConstraint};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::{embedded, embedded_list, rule, text_map};

/// Settings of the Pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// Labels of the Pods, in addition to those that the operator sets. Keys of azure.workload.identity, behalf.dev, app.kubernetes.io and container.apparmor.security.beta.kubernetes.io are reserved.
    /// Must be empty with server.container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "text_map", extend("x-kubernetes-validations" = reserved_keys("pod.labels")))]
    pub labels: BTreeMap<String, String>,

    /// Annotations of the Pods, in addition to those that the operator sets. Keys of azure.workload.identity, behalf.dev, app.kubernetes.io and container.apparmor.security.beta.kubernetes.io are reserved.
    /// Must be empty with server.container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "text_map", extend("x-kubernetes-validations" = reserved_keys("pod.annotations")))]
    pub annotations: BTreeMap<String, String>,

    /// Labels that a node must have to run the Pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "text_map")]
    pub node_selector: BTreeMap<String, String>,

    /// Tolerations of the Pods, as in a PodSpec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded_list::<Toleration>")]
    pub tolerations: Vec<Toleration>,

    /// Affinity of the Pods, as in a PodSpec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::<Affinity>")]
    pub affinity: Option<Affinity>,

    /// How the Pods are spread over zones and nodes, as in a PodSpec. With sessions.store.type Redis the default prefers
    /// different zones, then different nodes. These constraints replace the default. One without labelSelector counts the
    /// Pods of this object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "topology_spread_constraints")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,

    /// Name of the PriorityClass of the Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// Secrets of the namespace with credentials for the registry of the images. By default those of the installation, if it
    /// names some (images.pullSecrets of the chart behalf).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "image_pull_secrets")]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// Maximum time that a Pod may take to stop, in seconds. It serves for the first ten of them, until load balancers
    /// send it no more requests.
    #[serde(default = "termination_grace_period_seconds")]
    #[schemars(range(min = 15, max = 3600))]
    pub termination_grace_period_seconds: i32,
}

impl Default for PodSettings {
    fn default() -> Self {
        Self {
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: Vec::new(),
            priority_class_name: None,
            image_pull_secrets: Vec::new(),
            termination_grace_period_seconds: termination_grace_period_seconds(),
        }
    }
}

fn termination_grace_period_seconds() -> i32 {
    60
}

/// Returns the schema of Kubernetes for a list of constraints, with its keys.
fn topology_spread_constraints(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = embedded_list::<TopologySpreadConstraint>(generator);
    schema.insert("maxItems".to_owned(), 8.into());
    schema.insert("x-kubernetes-list-type".to_owned(), "map".into());
    schema.insert(
        "x-kubernetes-list-map-keys".to_owned(),
        serde_json::json!(["topologyKey", "whenUnsatisfiable"]),
    );
    schema
}

/// Returns the schema of Kubernetes for a list of references, keyed by their names.
fn image_pull_secrets(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = embedded_list::<LocalObjectReference>(generator);
    let name = serde_json::json!({
        "type": "string", "minLength": 1, "maxLength": 253, "description": "Name of the Secret.",
    });
    if let Some(items) = schema.get_mut("items").and_then(serde_json::Value::as_object_mut) {
        items.insert("properties".to_owned(), serde_json::json!({"name": name}));
        items.insert("required".to_owned(), serde_json::json!(["name"]));
    }
    schema.insert("x-kubernetes-list-type".to_owned(), "map".into());
    schema.insert(
        "x-kubernetes-list-map-keys".to_owned(),
        serde_json::json!(["name"]),
    );
    schema
}

fn reserved_keys(field: &str) -> serde_json::Value {
    serde_json::Value::Array(vec![rule(
        "self.all(key, !key.matches('^([a-z0-9.-]+[.])?(azure[.]workload[.]identity|behalf[.]dev|app[.]kubernetes[.]io|\
         container[.]apparmor[.]security[.]beta[.]kubernetes[.]io)/'))",
        &format!(
            "{field} must not use keys of azure.workload.identity, behalf.dev, app.kubernetes.io or \
             container.apparmor.security.beta.kubernetes.io: remove them"
        ),
    )])
}
