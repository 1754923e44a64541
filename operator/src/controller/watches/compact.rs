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
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt as _};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use crate::api::v1alpha1::{Guarded, McpServer};
use crate::controller::children::HttpRoute;
use crate::controller::managed_fields;
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
    /// Whether an `McpServer` controls the objects of this kind, without an object in between.
    const IS_CHILD: bool = true;

    /// The fields that are read of the objects of all `McpServers` at once. They are kept, so that no object is parsed for them.
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
    const IS_CHILD: bool = false;

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
    kind: Cow<'static, str>,
    name: String,
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
    /// Trims an object and writes it as JSON. Of an object with the label of a child that no `McpServer` of the label's name
    /// controls, only the metadata is kept: anybody can set a label, and a reconcile asks only who owns the object.
    pub fn of(mut object: K) -> Result<Self, serde_json::Error> {
        object.trim();
        let server: Option<Arc<str>> = object
            .labels()
            .get(names::SERVER_LABEL)
            .map(|name| name.as_str().into());
        let is_foreign = K::IS_CHILD && !is_controlled_by(object.meta(), server.as_deref());
        let whole = if is_foreign {
            None
        } else {
            Some(serde_json::to_string(&object)?)
        };
        let summary = object.summary();
        let mut metadata = std::mem::take(object.meta_mut());
        if let Some(owners) = metadata.owner_references.as_mut().filter(|_| is_foreign) {
            owners.retain(|owner| owner.controller == Some(true) || is_mcp_server(owner));
        }
        let metadata = ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            owner_references: metadata.owner_references,
            ..ObjectMeta::default()
        };
        let json = match whole {
            Some(whole) => whole,
            // Without `spec` an HTTPRoute could not be decoded.
            None => serde_json::json!({"metadata": metadata, "spec": {}}).to_string(),
        };
        Ok(Self {
            metadata: Arc::new(metadata),
            server,
            summary,
            json: json.into(),
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

/// Returns whether the controller of an object is the `McpServer` of this name.
fn is_controlled_by(metadata: &ObjectMeta, server: Option<&str>) -> bool {
    names::controller(metadata)
        .is_some_and(|owner| is_mcp_server(owner) && server.is_some_and(|server| owner.name == server))
}

fn is_mcp_server(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split('/').next();
    owner.kind == McpServer::kind(&()) && group == Some(&*McpServer::group(&()))
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
    use crate::testing::{EXAMPLES, children, quickstart_with, server};

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

    /// Asserts that the cache has of this object only what says that it belongs to somebody else.
    fn only_metadata_is_kept<K: CachedKind>(mut object: K, content: &str) {
        assert!(serde_json::to_string(&object).unwrap().contains(content));
        for owners in [
            None,
            Some(vec![owner("behalf.dev/v1alpha1", "another", true)]),
            Some(vec![owner("behalf.dev/v1alpha1", "another", false)]),
            Some(vec![owner("nowhere.example/v1", "azure-devops", true)]),
        ] {
            object.meta_mut().owner_references = owners;
            let compact = Compact::of(object.clone()).unwrap();
            assert!(compact.is_labelled("mcp", "azure-devops"));
            assert!(!compact.json.contains(content), "{}", compact.json);
            let parsed = compact.parse().unwrap();
            assert_eq!(parsed.meta().name, object.meta().name);
            assert_eq!(
                names::controller_uid(parsed.meta()),
                names::controller_uid(object.meta())
            );
        }
    }

    fn owner(api_version: &str, name: &str, controller: bool) -> OwnerReference {
        OwnerReference {
            api_version: api_version.to_owned(),
            kind: "McpServer".to_owned(),
            name: name.to_owned(),
            controller: Some(controller),
            ..OwnerReference::default()
        }
    }

    #[test]
    fn a_child_whose_controller_was_taken_away_still_names_its_server() {
        let mut service = children(&server(crate::testing::QUICKSTART)).service;
        service.meta_mut().owner_references = Some(vec![owner("behalf.dev/v1alpha1", "azure-devops", false)]);
        let compact = Compact::of(service).unwrap();
        let owners = compact.owner_references();
        assert!(matches!(owners, [owner] if owner.name == "azure-devops"));
        assert_eq!(names::controller_uid(compact.meta()), None);
    }

    #[test]
    fn of_an_object_that_somebody_else_labels_as_a_child_only_the_metadata_is_kept() {
        let route = json!({"gateway": {"parentRefs": [{"name": "public"}]}});
        let children = children(&quickstart_with(json!({"route": route})));
        let mut config_map = children.config_map;
        config_map.data = Some([("large".to_owned(), "x".repeat(1 << 20))].into());
        only_metadata_is_kept(config_map, "xxxx");
        only_metadata_is_kept(children.deployment, "containers");
        only_metadata_is_kept(children.service, "targetPort");
        only_metadata_is_kept(children.network_policy.unwrap(), "egress");
        only_metadata_is_kept(children.http_route.unwrap(), "parentRefs");
        only_metadata_is_kept(children.service_account.unwrap(), "automount");
    }

    #[test]
    fn a_child_that_was_created_and_not_applied_is_known_as_such() {
        let entry = |operation: &str| ManagedFieldsEntry {
            manager: Some(crate::field_manager::FIELD_MANAGER.to_owned()),
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
