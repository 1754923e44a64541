//! An object in a cache.
//!
//! The types of Kubernetes have a place for each field that anybody may set. A `Volume` alone needs 3 KB, and a Deployment about
//! ten times the size of its JSON. With hundreds of objects these types would be most of the operator's memory, so that a cache
//! contains the JSON, and a reconcile parses the JSON of its own object only.

use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt as _};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use crate::api::v1alpha1::Guarded;
use crate::controller::apply::managed_fields;
use crate::controller::children::HttpRoute;
use crate::controller::names;

/// A kind of object that is cached.
pub trait CachedKind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// What is asked of the objects of all `McpServers` at once, and therefore not parsed each time.
    type Summary: Debug + Clone + Send + Sync;

    /// Returns the summary of an object.
    fn summary(&self) -> Self::Summary;

    /// Removes what no reconcile needs. The default keeps of `managedFields` only whether they must change before the object is
    /// applied.
    fn trim(&mut self) {
        let entries = &mut self.meta_mut().managed_fields;
        entries.iter_mut().for_each(managed_fields::trim);
        if entries.as_ref().is_some_and(Vec::is_empty) {
            *entries = None;
        }
    }
}

macro_rules! without_summary {
    ($($kind:ty),*) => {
        $(impl CachedKind for $kind {
            type Summary = ();
            fn summary(&self) {}
        })*
    };
}
without_summary!(
    HttpRoute,
    PodDisruptionBudget,
    NetworkPolicy,
    ServiceAccount,
    ConfigMap,
    Service
);

impl CachedKind for ReplicaSet {
    type Summary = ();

    fn summary(&self) {}

    /// Removes `managedFields`, the status and the Pod spec. A reconcile needs only the annotations of the Pods.
    fn trim(&mut self) {
        self.meta_mut().managed_fields = None;
        self.status = None;
        if let Some(template) = self.spec.as_mut().and_then(|spec| spec.template.as_mut()) {
            template.spec = None;
        }
    }
}

/// An object in a cache could not be parsed. Only a defect of this program can cause it.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {kind} {name} from the cache")]
pub struct UnreadableCache {
    /// Its kind.
    kind: Cow<'static, str>,

    /// Its name.
    name: String,

    /// The cause.
    #[source]
    source: serde_json::Error,
}

/// The JSON of an object, with the metadata by which a reconcile finds it.
#[derive(Clone)]
pub struct Compact<K: CachedKind> {
    /// Name, namespace, UID, versions and owners alone.
    metadata: Arc<ObjectMeta>,

    /// The `McpServer` that the object's label names.
    server: Option<Arc<str>>,

    summary: K::Summary,
    json: Arc<str>,
}

impl<K: CachedKind> Compact<K> {
    /// Trims an object and writes it as JSON.
    pub fn of(mut object: K) -> Result<Self, serde_json::Error> {
        object.trim();
        let json = serde_json::to_string(&object)?.into();
        let server = object
            .labels()
            .get(names::SERVER_LABEL)
            .map(|name| name.as_str().into());
        let summary = object.summary();
        let metadata = std::mem::take(object.meta_mut());
        Ok(Self {
            metadata: Arc::new(ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                generation: metadata.generation,
                owner_references: metadata.owner_references,
                ..ObjectMeta::default()
            }),
            server,
            summary,
            json,
        })
    }

    /// Returns the trimmed object.
    pub fn parse(&self) -> Result<K, UnreadableCache> {
        serde_json::from_str(&self.json).map_err(|source| UnreadableCache {
            kind: K::kind(&()),
            name: self.name_any(),
            source,
        })
    }

    /// Returns the summary.
    pub fn summary(&self) -> &K::Summary {
        &self.summary
    }

    /// Returns the object that a Pod or `ReplicaSet` belongs to, from its label. The object is not its direct controller.
    pub fn server(&self) -> Option<ObjectRef<Guarded>> {
        Some(ObjectRef::new(self.server.as_ref()?).within(self.metadata.namespace.as_ref()?))
    }

    /// Returns whether the label names this `McpServer`.
    pub fn is_labelled(&self, namespace: &str, server: &str) -> bool {
        self.metadata.namespace.as_deref() == Some(namespace) && self.server.as_deref() == Some(server)
    }
}

impl<'de, K: CachedKind> Deserialize<'de> for Compact<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(K::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<K: CachedKind> Resource for Compact<K> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(kind: &()) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &()) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &()) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &()) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        Arc::make_mut(&mut self.metadata)
    }
}

impl<K: CachedKind> Debug for Compact<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Compact")
            .field("name", &self.metadata.name)
            .field("namespace", &self.metadata.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
    use serde_json::json;

    use super::*;
    use crate::testing::{EXAMPLES, children, server};

    fn same_after_the_cache<K: CachedKind + PartialEq>(object: &K) {
        let compact = Compact::of(object.clone()).unwrap();
        assert!(compact.parse().unwrap() == *object, "{compact:?} differs");
        assert_eq!(compact.meta().uid, object.meta().uid);
        assert_eq!(compact.meta().owner_references, object.meta().owner_references);
    }

    #[test]
    fn a_child_comes_back_from_the_cache_as_it_was() {
        for (_, manifest) in EXAMPLES {
            let mut children = children(&server(manifest));
            children.deployment.metadata.uid = Some("a".to_owned());
            children.service_account.iter().for_each(same_after_the_cache);
            children.network_policy.iter().for_each(same_after_the_cache);
            children
                .pod_disruption_budget
                .iter()
                .for_each(same_after_the_cache);
            same_after_the_cache(&children.config_map);
            same_after_the_cache(&children.service);
            same_after_the_cache(&children.deployment);
        }
    }

    #[test]
    fn a_child_that_was_created_and_not_applied_is_known_as_such() {
        let entry = |operation: &str| ManagedFieldsEntry {
            manager: Some(names::FIELD_MANAGER.to_owned()),
            operation: Some(operation.to_owned()),
            ..ManagedFieldsEntry::default()
        };
        let mut service = children(&server(crate::testing::QUICKSTART)).service;
        service.metadata.managed_fields = Some(vec![entry("Apply"), entry("Update")]);
        let cached = Compact::of(service).unwrap().parse().unwrap();
        assert_eq!(cached.managed_fields(), [entry("Update")]);
    }

    #[test]
    fn a_pod_belongs_to_the_object_of_its_label() {
        let pod = |labels: serde_json::Value| {
            let pod = json!({"metadata": {"namespace": "mcp", "labels": labels}});
            serde_json::from_value::<Compact<Pod>>(pod).unwrap()
        };
        let labelled = pod(json!({(names::SERVER_LABEL): "azure-devops"}));
        let server = labelled.server().unwrap();
        assert_eq!(
            (server.name.as_str(), server.namespace.as_deref()),
            ("azure-devops", Some("mcp"))
        );
        assert!(labelled.is_labelled("mcp", "azure-devops"));
        assert!(!labelled.is_labelled("other", "azure-devops"));
        assert!(!labelled.is_labelled("mcp", "other"));
        assert!(pod(json!({})).server().is_none());
    }

    #[test]
    fn a_cached_pod_has_its_volumes_and_status_and_neither_containers_nor_managers() {
        let pod: Compact<Pod> = serde_json::from_value(json!({
            "metadata": {"name": "a", "managedFields": [{"manager": "kubelet", "operation": "Update"}]},
            "spec": {"containers": [{"name": "mcp-server"}], "volumes": [{"name": "keyring"}]},
            "status": {"phase": "Running"},
        }))
        .unwrap();
        let pod = pod.parse().unwrap();
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
        assert_eq!(volumes.map(Vec::len), Some(1));
        assert!(pod.spec.as_ref().unwrap().containers.is_empty());
        assert!(pod.managed_fields().is_empty());
        assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Running"));
    }
}
