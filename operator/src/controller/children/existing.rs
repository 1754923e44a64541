//! The objects of one `McpServer` that exist, as the caches contain them, and the table of the watched kinds.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Applied, Children};

/// Calls `$callback` with every kind of child that the operator watches. The watches, the caches, the existing children
/// of an object and the deletion of unused ones all come from this table; unused children are deleted in its order.
///
/// The keyring is not in it: to watch Secrets, the operator would need the right to list all of them.
macro_rules! watched_children {
    ($callback:ident) => {
        $callback! {
            http_routes: crate::controller::children::HttpRoute,
            pod_disruption_budgets: k8s_openapi::api::policy::v1::PodDisruptionBudget,
            network_policies: k8s_openapi::api::networking::v1::NetworkPolicy,
            service_accounts: k8s_openapi::api::core::v1::ServiceAccount,
            config_maps: k8s_openapi::api::core::v1::ConfigMap,
            services: k8s_openapi::api::core::v1::Service,
            deployments: k8s_openapi::api::apps::v1::Deployment,
        }
    };
}
pub(in crate::controller) use watched_children;

/// A kind of child.
pub trait ChildKind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned
{
    /// The name of the kind in messages.
    const KIND: &'static str;

    /// Whether every cluster serves the kind. The watch of another kind waits until the cluster does.
    const IS_BUILT_IN: bool = true;

    /// Returns whether this existing child may be deleted, now that `children` are applied. The default is never.
    fn is_unused(&self, children: &Children<Applied>, existing: &Existing) -> bool {
        let _ = (children, existing);
        false
    }
}

/// A kind of child that the operator watches.
pub trait WatchedKind: ChildKind {
    /// The existing children of this kind.
    fn among(existing: &ExistingChildren) -> &[Arc<Self>];
}

macro_rules! existing_children {
    ($($name:ident: $kind:ty,)*) => {
        /// The existing children of one object, by kind.
        #[derive(Debug, Clone, Default)]
        #[expect(missing_docs, reason = "each field is named after its kind")]
        pub struct ExistingChildren { $(pub $name: Vec<Arc<$kind>>,)* }

        $(impl WatchedKind for $kind {
            fn among(existing: &ExistingChildren) -> &[Arc<Self>] { &existing.$name }
        })*
    };
}
watched_children!(existing_children);

impl ExistingChildren {
    /// Returns the existing child of this kind and name.
    pub fn named<K: WatchedKind>(&self, name: &str) -> Option<&K> {
        let children = K::among(self).iter().map(AsRef::as_ref);
        children.into_iter().find(|child: &&K| child.name_any() == name)
    }
}

/// The existing children of one object, and what its Deployment created.
#[derive(Debug, Clone, Default)]
pub struct Existing {
    /// The children.
    pub children: ExistingChildren,

    /// The `ReplicaSets` of the Deployment, without their Pod specs.
    pub replica_sets: Vec<Arc<ReplicaSet>>,

    /// The Pods that the Deployment made.
    pub pods: Vec<Arc<Pod>>,

    /// Other Pods with the object's label. They say nothing about the object, but may use its configurations.
    pub other_pods: Vec<Arc<Pod>>,
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn a_child_is_found_by_its_name() {
        let named = |name: &str| {
            let mut config_map = ConfigMap::default();
            config_map.metadata.name = Some(name.to_owned());
            Arc::new(config_map)
        };
        let existing = ExistingChildren {
            config_maps: vec![named("old"), named("new")],
            ..ExistingChildren::default()
        };
        let found = existing.named::<ConfigMap>("new").map(ConfigMap::name_any);
        assert_eq!(found.as_deref(), Some("new"));
        assert!(existing.named::<ConfigMap>("other").is_none());
    }
}
