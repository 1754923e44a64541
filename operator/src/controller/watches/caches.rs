//! The caches that the watches fill.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, watcher};
use kube::{Resource, ResourceExt as _};
use tokio::sync::{Notify, watch};

use super::compact::{CachedKind, Compact, UnreadableCache};
use super::optional_kind::{OptionalKind, Served};
use super::refused::RefusedWatches;
use super::source::{Source, cached, owners_of};
use crate::api::v1alpha1::{Guarded, McpServer};
use crate::controller::children::{ChildKind as _, Existing, ExistingChildren, watched_children};
use crate::controller::names;
use crate::controller::queue::Queue;

/// All caches.
#[derive(Clone)]
pub struct Stores {
    /// Every `McpServer` of the watched namespaces.
    pub servers: Store<Guarded>,

    /// The children.
    pub(in crate::controller) children: ChildStores,

    /// `ReplicaSets` with this operator's label, without their Pod specs.
    pub(in crate::controller) replica_sets: Store<Compact<ReplicaSet>>,

    /// Pods with this operator's label.
    pub pods: Store<Compact<Pod>>,

    /// Notified after a change of a Pod is in the cache. One task waits for it.
    pub pod_changed: Arc<Notify>,

    /// Whether the cluster serves `HTTPRoute`.
    gateway_api: Served,

    refused: RefusedWatches,

    filled: watch::Receiver<bool>,
}

/// The watches ended before every cache was filled once.
#[derive(Debug, thiserror::Error)]
#[error("the watches have ended")]
pub struct WatchesEnded;

macro_rules! child_stores {
    ($($name:ident: $kind:ty,)*) => {
        /// One cache for each watched kind of child.
        #[derive(Clone)]
        pub(in crate::controller) struct ChildStores { $($name: Store<Compact<$kind>>,)* }

        impl ChildStores {
            /// Starts a watch for each kind. A change of a child reconciles its owner.
            pub(super) fn start(
                source: &Source<'_>,
                config: &watcher::Config,
                optional: &OptionalKind,
                queue: &Queue,
                controller: Controller<Guarded>,
            ) -> (Self, Controller<Guarded>) {
                $(
                    let kind = (!<$kind>::IS_BUILT_IN).then(|| optional.clone());
                    let ($name, stream) = cached::<$kind>(source, config, kind);
                    let queue_of_kind = queue.clone();
                    let controller =
                        controller.watches_stream::<Compact<$kind>, _>(stream, move |child| queue_of_kind.add(owners_of(&child)));
                )*
                (Self { $($name,)* }, controller)
            }

            async fn wait_until_ready(&self) -> Result<(), WriterDropped> {
                $(self.$name.wait_until_ready().await?;)*
                Ok(())
            }

            /// Returns the children with the label of this `McpServer`.
            pub(in crate::controller) fn existing(
                &self,
                namespace: &str,
                server: &str,
            ) -> Result<ExistingChildren, UnreadableCache> {
                Ok(ExistingChildren {
                    $($name: labelled(&self.$name, namespace, server).iter().map(parse).collect::<Result<_, _>>()?,)*
                })
            }

            /// Creates caches that contain these children and never change.
            #[cfg(test)]
            fn containing(children: ExistingChildren) -> Self {
                Self { $($name: compact_store(children.$name.iter().map(|child| child.as_ref().clone())),)* }
            }

            /// Creates unfilled caches, and a function that fills all of them.
            #[cfg(test)]
            fn unfilled() -> (Self, impl FnOnce()) {
                $(let $name = kube::runtime::reflector::store();)*
                let stores = Self { $($name: $name.0.clone(),)* };
                (stores, move || { $(fill($name.1);)* })
            }
        }
    };
}
watched_children!(child_stores);

impl Stores {
    /// Combines the caches, and waits in the background until each is filled.
    pub(super) fn new(
        servers: Store<Guarded>,
        children: ChildStores,
        replica_sets: Store<Compact<ReplicaSet>>,
        pods: Store<Compact<Pod>>,
        pod_changed: Arc<Notify>,
        gateway_api: Served,
        refused: RefusedWatches,
    ) -> Self {
        let (sender, filled) = watch::channel(false);
        let stores = Self {
            servers,
            children,
            replica_sets,
            pods,
            pod_changed,
            gateway_api,
            refused,
            filled,
        };
        tokio::spawn(stores.clone().wait(sender));
        stores
    }

    /// Waits until every cache was filled once. An unfilled cache does not show what exists.
    pub async fn ready(&self) -> Result<(), WatchesEnded> {
        let filled = self.filled.clone().wait_for(|filled| *filled).await.map(|_| ());
        filled.map_err(|_| WatchesEnded)
    }

    /// Waits for each cache on behalf of all callers of [`Self::ready`]: kube wakes only the last of several tasks that
    /// wait for one store, because the store keeps one waker. The controller itself waits for the store of the
    /// `McpServers`.
    async fn wait(self, filled: watch::Sender<bool>) {
        let all = async {
            self.children.wait_until_ready().await?;
            self.replica_sets.wait_until_ready().await?;
            self.pods.wait_until_ready().await
        };
        if all.await.is_ok() {
            // The send fails only if nothing waits any more.
            let _ = filled.send(true);
        }
    }

    /// Returns whether the cluster serves `HTTPRoute`.
    pub(in crate::controller) fn has_gateway_api(&self) -> bool {
        self.gateway_api.get()
    }

    /// Returns why the caches may lack objects of a namespace: the operator has no right to watch a kind there. Says what to do.
    pub(in crate::controller) fn refused_watch(&self, namespace: &str) -> Option<String> {
        let refusal = self.refused.of(namespace)?;
        Some(format!(
            "failed to see what exists in the namespace {namespace}: {refusal}"
        ))
    }

    /// Returns the Deployments that belong to an existing `McpServer` and have its name.
    pub(in crate::controller) fn deployments(&self) -> Vec<Arc<Compact<Deployment>>> {
        let of = |server: &Arc<Guarded>| {
            let deployment = self.deployment(&server.namespace()?, &server.name_any())?;
            let owner = names::controller_uid(deployment.meta());
            (owner.is_some() && owner == server.meta().uid.as_deref()).then_some(deployment)
        };
        self.servers.state().iter().filter_map(of).collect()
    }

    /// Returns the Deployment of this name that is cached.
    pub(in crate::controller) fn deployment(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Compact<Deployment>>> {
        let reference = ObjectRef::new(name).within(namespace);
        self.children.deployments.get(&reference)
    }

    /// Returns the children and Pods of an object.
    pub(in crate::controller) fn existing(
        &self,
        namespace: &str,
        server: &str,
    ) -> Result<Existing, UnreadableCache> {
        let (own, other): (Vec<_>, Vec<_>) = labelled(&self.pods, namespace, server)
            .into_iter()
            .partition(|pod| self.is_own(pod));
        let replica_sets = labelled(&self.replica_sets, namespace, server);
        Ok(Existing {
            children: self.children.existing(namespace, server)?,
            replica_sets: replica_sets.iter().map(parse).collect::<Result<_, _>>()?,
            pods: own.iter().map(parse).collect::<Result<_, _>>()?,
            other_pods: other.iter().map(parse).collect::<Result<_, _>>()?,
        })
    }

    /// Returns the Pods of all `McpServers`.
    pub fn own_pods(&self) -> Vec<Arc<Compact<Pod>>> {
        self.pods.state_filter(|pod| self.is_own(pod))
    }

    /// Returns whether a Pod belongs to the Deployment of the `McpServer` that its label names. The label alone proves
    /// nothing: a user who can create Pods can set it.
    fn is_own(&self, pod: &Compact<Pod>) -> bool {
        let Some(server) = pod.server() else {
            return false;
        };
        let deployment = controller_in(&self.replica_sets, pod)
            .and_then(|replica_set| controller_in(&self.children.deployments, replica_set.as_ref()));
        deployment.is_some_and(|deployment| {
            let owner = names::controller(deployment.meta());
            deployment.name_any() == server.name
                && owner.is_some_and(|owner| owner.kind == McpServer::kind(&()) && owner.name == server.name)
        })
    }

    /// Creates caches that contain these objects and never change.
    #[cfg(test)]
    pub(in crate::controller) fn containing(
        servers: &[Guarded],
        children: ExistingChildren,
        pods: Vec<Pod>,
    ) -> Self {
        Self {
            servers: store(servers.iter().cloned()),
            replica_sets: compact_store(
                children
                    .deployments
                    .iter()
                    .map(|deployment| crate::testing::replica_set(deployment)),
            ),
            children: ChildStores::containing(children),
            pods: compact_store(pods),
            pod_changed: Arc::default(),
            gateway_api: Served::always(),
            refused: RefusedWatches::default(),
            filled: watch::channel(true).1,
        }
    }
}

/// Returns the objects with the label of this `McpServer`.
fn labelled<K: CachedKind>(store: &Store<Compact<K>>, namespace: &str, server: &str) -> Vec<Arc<Compact<K>>> {
    store.state_filter(|object| object.is_labelled(namespace, server))
}

fn parse<K: CachedKind>(cached: &Arc<Compact<K>>) -> Result<Arc<K>, UnreadableCache> {
    cached.parse().map(Arc::new)
}

/// Returns the object of this kind that controls another, if the cache contains it.
fn controller_in<K>(store: &Store<K>, object: &impl Resource) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone,
{
    let owner = names::controller(object.meta()).filter(|owner| owner.kind == K::kind(&()))?;
    let found = store.get(&ObjectRef::new(&owner.name).within(&object.namespace()?))?;
    (found.meta().uid.as_ref() == Some(&owner.uid)).then_some(found)
}

#[cfg(test)]
fn compact_store<K: CachedKind>(objects: impl IntoIterator<Item = K>) -> Store<Compact<K>> {
    store(objects.into_iter().map(|object| Compact::of(object).unwrap()))
}

#[cfg(test)]
fn store<K>(objects: impl IntoIterator<Item = K>) -> Store<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    let (store, mut writer) = kube::runtime::reflector::store();
    for object in objects {
        writer.apply_watcher_event(&watcher::Event::Apply(object));
    }
    store
}

#[cfg(test)]
fn fill<K>(mut writer: kube::runtime::reflector::store::Writer<K>)
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    writer.apply_watcher_event(&watcher::Event::Init);
    writer.apply_watcher_event(&watcher::Event::InitDone);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube::runtime::reflector;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::children(0)]
    #[case::replica_sets(1)]
    #[case::pods(2)]
    #[tokio::test]
    async fn every_reconcile_that_waits_for_the_caches_is_woken_when_the_last_one_is_filled(
        #[case] last: usize,
    ) {
        let (servers, _servers) = reflector::store();
        let (children, fill_children) = ChildStores::unfilled();
        let (replica_sets, replica_set_writer) = reflector::store();
        let (pods, pod_writer) = reflector::store();
        let stores = Stores::new(
            servers,
            children,
            replica_sets,
            pods,
            Arc::default(),
            Served::default(),
            RefusedWatches::default(),
        );
        let reconciles: Vec<_> = (0..16)
            .map(|_| {
                let stores = stores.clone();
                tokio::spawn(async move { stores.ready().await })
            })
            .collect();
        // All tasks wait before the first cache is filled.
        tokio::task::yield_now().await;
        let mut fills: [Option<Box<dyn FnOnce()>>; 3] = [
            Some(Box::new(fill_children)),
            Some(Box::new(|| fill(replica_set_writer))),
            Some(Box::new(|| fill(pod_writer))),
        ];
        let fill_last = fills[last].take().unwrap();
        for fill in fills.into_iter().flatten() {
            fill();
        }
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        assert!(
            reconciles.iter().all(|reconcile| !reconcile.is_finished()),
            "one cache is still unfilled"
        );
        fill_last();
        for reconcile in reconciles {
            tokio::time::timeout(Duration::from_secs(30), reconcile)
                .await
                .unwrap()
                .unwrap()
                .unwrap();
        }
    }

    #[rstest]
    #[case::own(|_: &mut Deployment| {}, true)]
    #[case::of_another_name(|deployment: &mut Deployment| {
        deployment.metadata.name = Some("other".to_owned());
    }, false)]
    #[case::of_another_object(|deployment: &mut Deployment| {
        deployment.metadata.owner_references.as_mut().unwrap()[0].name = "other".to_owned();
    }, false)]
    #[case::of_another_kind(|deployment: &mut Deployment| {
        deployment.metadata.owner_references.as_mut().unwrap()[0].kind = "Website".to_owned();
    }, false)]
    #[case::of_nobody(|deployment: &mut Deployment| deployment.metadata.owner_references = None, false)]
    #[tokio::test]
    async fn a_pod_counts_only_if_the_deployment_of_its_object_made_it(
        #[case] change: fn(&mut Deployment),
        #[case] is_own: bool,
    ) {
        let mut children = crate::testing::children(&crate::testing::server(crate::testing::QUICKSTART));
        children.deployment.metadata.uid = Some("a-deployment".to_owned());
        change(&mut children.deployment);
        let name = children.deployment.name_any();
        let pod = serde_json::json!({"metadata": {
            "name": "a-pod", "namespace": "mcp", "uid": "a-pod", "labels": names::labels("azure-devops"),
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "controller": true,
                "uid": format!("replica-set-of-{name}"),
            }],
        }});
        let pods = vec![serde_json::from_value(pod).unwrap()];
        let stores = Stores::containing(&[], children.existing(), pods);
        assert_eq!(stores.own_pods().len(), usize::from(is_own));
    }
}
