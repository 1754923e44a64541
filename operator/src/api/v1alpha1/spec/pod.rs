use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::{embedded, embedded_list, rule, text_map};

/// Settings of the Pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// More labels. Keys of azure.workload.identity, behalf.dev and app.kubernetes.io are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "text_map", extend("x-kubernetes-validations" = reserved_keys("pod.labels")))]
    pub labels: BTreeMap<String, String>,

    /// More annotations. Keys of azure.workload.identity, behalf.dev and app.kubernetes.io are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "text_map", extend("x-kubernetes-validations" = reserved_keys("pod.annotations")))]
    pub annotations: BTreeMap<String, String>,

    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "text_map")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes to put up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded_list::<Toleration>")]
    pub tolerations: Vec<Toleration>,

    /// Rules for choosing a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::<Affinity>")]
    pub affinity: Option<Affinity>,

    /// Name of a PriorityClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// Secrets of the namespace with credentials for the images' registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded_list::<LocalObjectReference>")]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// How long a Pod may take to stop, in seconds. The first ten let load balancers notice.
    #[serde(default = "termination_grace_period_seconds")]
    #[schemars(range(min = 15, max = 3600))]
    pub termination_grace_period_seconds: u32,
}

impl Default for PodSettings {
    fn default() -> Self {
        Self {
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            priority_class_name: None,
            image_pull_secrets: Vec::new(),
            termination_grace_period_seconds: termination_grace_period_seconds(),
        }
    }
}

fn termination_grace_period_seconds() -> u32 {
    60
}

fn reserved_keys(field: &str) -> serde_json::Value {
    serde_json::Value::Array(vec![rule(
        "self.all(key, !key.matches('^([a-z0-9.-]+[.])?(azure[.]workload[.]identity|behalf[.]dev|app[.]kubernetes[.]io)/'))",
        &format!("{field} must not use keys of azure.workload.identity, behalf.dev or app.kubernetes.io"),
    )])
}

/// Requests for processor time and memory, and perhaps a limit of memory.
pub(super) fn requirements(cpu: &str, memory: &str, memory_limit: Option<&str>) -> ResourceRequirements {
    let quantity = |text: &str| Quantity(text.to_owned());
    ResourceRequirements {
        requests: Some(BTreeMap::from([
            ("cpu".to_owned(), quantity(cpu)),
            ("memory".to_owned(), quantity(memory)),
        ])),
        limits: memory_limit.map(|limit| BTreeMap::from([("memory".to_owned(), quantity(limit))])),
        ..ResourceRequirements::default()
    }
}
