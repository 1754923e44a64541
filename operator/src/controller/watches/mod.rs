//! The watches of the operator, and the caches that they fill.
//!
//! Each watch both fills a cache and triggers a pass, so a pass over a settled object asks the API server for
//! almost nothing. Secrets are not watched: that would need the right to list every Secret.

mod merge;
pub mod scope;

use std::fmt::Debug;

use futures::channel::mpsc;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Controller, PredicateConfig, WatchStreamExt as _, predicates, watcher};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::api::v1alpha1::McpServer;
use crate::controller::{names, public_url};
use merge::{Watch, merge};
use scope::Scope;

/// The object as it is watched: one that cannot be decoded does not stop the watch.
pub type Guarded = DeserializeGuard<McpServer>;

/// The caches.
#[derive(Clone)]
pub struct Stores {
    /// Every `McpServer`.
    pub servers: Store<Guarded>,

    /// `ServiceAccounts` with our label; so are all below.
    pub service_accounts: Store<ServiceAccount>,

    /// Configurations.
    pub config_maps: Store<ConfigMap>,

    /// Deployments.
    pub deployments: Store<Deployment>,

    /// Services.
    pub services: Store<Service>,

    /// Network policies.
    pub network_policies: Store<NetworkPolicy>,

    /// `ReplicaSets`, without their Pod specs.
    pub replica_sets: Store<ReplicaSet>,

    /// Pods.
    pub pods: Store<Pod>,

    filled: watch::Receiver<bool>,
}

/// The watches ended before every cache was filled once.
#[derive(Debug, thiserror::Error)]
#[error("the watches have ended")]
pub struct Ended;

impl Stores {
    /// Waits until every cache was filled once: an empty cache says nothing.
    pub async fn ready(&self) -> Result<(), Ended> {
        self.filled
            .clone()
            .wait_for(|filled| *filled)
            .await
            .map(|_| ())
            .map_err(|_| Ended)
    }

    /// Caches that hold these objects and nothing else, and never change.
    #[cfg(test)]
    pub(in crate::controller) fn of(
        servers: &[Guarded],
        children: &[crate::controller::children::Children<crate::controller::children::Built>],
        pods: Vec<Pod>,
    ) -> Self {
        fn hold<K>(objects: impl IntoIterator<Item = K>) -> Store<K>
        where
            K: Resource<DynamicType = ()> + Clone + 'static,
        {
            let (store, mut writer) = reflector::store();
            for object in objects {
                writer.apply_watcher_event(&watcher::Event::Apply(object));
            }
            store
        }
        Self {
            servers: hold(servers.to_vec()),
            service_accounts: hold(
                children
                    .iter()
                    .filter_map(|of_one| of_one.service_account.clone()),
            ),
            config_maps: hold(children.iter().map(|of_one| of_one.config_map.clone())),
            deployments: hold(children.iter().map(|of_one| of_one.deployment.clone())),
            services: hold(children.iter().map(|of_one| of_one.service.clone())),
            network_policies: hold(children.iter().filter_map(|of_one| of_one.network_policy.clone())),
            replica_sets: reflector::store().0,
            pods: hold(pods),
            filled: watch::channel(true).1,
        }
    }

    /// Waits for each cache, once for everybody. kube wakes only the last of several who wait for one store
    /// (it keeps one waker), so nobody else may; the store of the objects themselves is the controller's to
    /// wait for.
    async fn wait(stores: Self, filled: watch::Sender<bool>) {
        let all = async {
            stores.service_accounts.wait_until_ready().await?;
            stores.config_maps.wait_until_ready().await?;
            stores.deployments.wait_until_ready().await?;
            stores.services.wait_until_ready().await?;
            stores.network_policies.wait_until_ready().await?;
            stores.replica_sets.wait_until_ready().await?;
            stores.pods.wait_until_ready().await
        };
        if all.await.is_ok() {
            // Without receivers there is nobody left to tell.
            let _ = filled.send(true);
        }
    }
}

/// A controller with every watch, and the caches that they fill. Call it inside a runtime.
/// `reports` names the objects whose Pods report a change.
pub fn start(
    client: &Client,
    scope: &Scope,
    reports: impl Stream<Item = ObjectRef<Guarded>> + Send + 'static,
) -> (Controller<Guarded>, Stores) {
    let everything = watcher::Config::default();
    let ours = watcher::Config::default().labels(names::MANAGED_SELECTOR);
    let (servers, server_stream, affected) = servers(client, scope, &everything);
    let (service_accounts, service_account_stream) = cached(client, scope, &ours, drop_managers);
    let (config_maps, config_map_stream) = cached(client, scope, &ours, drop_managers);
    let (deployments, deployment_stream) = cached(client, scope, &ours, drop_managers);
    let (services, service_stream) = cached(client, scope, &ours, drop_managers);
    let (network_policies, network_policy_stream) = cached(client, scope, &ours, drop_managers);
    let (replica_sets, replica_set_stream) = cached(client, scope, &ours, drop_pod_spec);
    let (pods, pod_stream) = cached::<Pod>(client, scope, &ours, drop_managers);
    let (sender, receiver) = watch::channel(false);
    let stores = Stores {
        servers: servers.clone(),
        service_accounts,
        config_maps,
        deployments,
        services,
        network_policies,
        replica_sets,
        pods,
        filled: receiver,
    };
    tokio::spawn(Stores::wait(stores.clone(), sender));
    let controller = Controller::for_stream(edits(server_stream), servers)
        .reconcile_on(affected)
        .reconcile_on(reports)
        .owns_stream::<ServiceAccount>(service_account_stream)
        .owns_stream::<ConfigMap>(config_map_stream)
        .owns_stream::<Deployment>(deployment_stream)
        .owns_stream::<Service>(service_stream)
        .owns_stream::<NetworkPolicy>(network_policy_stream)
        .watches_stream::<ReplicaSet, _>(replica_set_stream, |replica_set| server_of(&replica_set))
        .watches_stream::<Pod, _>(pod_stream, |pod| server_of(&pod));
    (controller, stores)
}

/// The cache of the objects themselves, the stream of changes that fills it, and the other objects whose
/// judgement may change with one of them.
fn servers(
    client: &Client,
    scope: &Scope,
    config: &watcher::Config,
) -> (
    Store<Guarded>,
    impl Stream<Item = Result<Guarded, watcher::Error>> + Send + use<>,
    impl Stream<Item = ObjectRef<Guarded>> + Send + use<>,
) {
    let (store, writer) = reflector::store();
    let (sender, affected) = mpsc::unbounded();
    let before = store.clone();
    let stream = watched::<Guarded>(client, scope, config, store.clone())
        .modify(|object| object.managed_fields_mut().clear())
        // This runs before the cache is updated, because the event does not contain the object's old address.
        // The other objects are reconciled after the update, because one task polls this stream and theirs.
        .inspect_ok(move |event| {
            for other in public_url::affected(event, &before) {
                // The send fails only after the controller, which owns the receiver, has ended.
                let _ = sender.unbounded_send(other);
            }
        })
        .reflect(writer)
        .touched_objects();
    (store, stream, affected)
}

/// Filters out the operator's own writes to the status, which need no further pass. The cache still contains
/// them.
fn edits(
    servers: impl Stream<Item = Result<Guarded, watcher::Error>> + Send + 'static,
) -> impl Stream<Item = Result<Guarded, watcher::Error>> + Send + 'static {
    servers.predicate_filter(predicates::generation, PredicateConfig::default())
}

/// Returns the object that a Pod or `ReplicaSet` belongs to, from its label. The object is not its direct
/// controller.
pub(in crate::controller) fn server_of(object: &impl Resource) -> Option<ObjectRef<Guarded>> {
    let name = object.labels().get(names::SERVER_LABEL)?;
    Some(ObjectRef::new(name).within(&object.namespace()?))
}

/// Removes `managedFields`, which are often larger than the rest of the object.
fn drop_managers<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
}

/// Removes `managedFields`, the status and the Pod spec from a `ReplicaSet`. The operator needs only the
/// annotations of its Pods.
fn drop_pod_spec(replica_set: &mut ReplicaSet) {
    replica_set.managed_fields_mut().clear();
    replica_set.status = None;
    if let Some(template) = replica_set.spec.as_mut().and_then(|spec| spec.template.as_mut()) {
        template.spec = None;
    }
}

/// Creates a cache and the stream of changes that fills it. `trim` removes unused parts of each object.
fn cached<K>(
    client: &Client,
    scope: &Scope,
    config: &watcher::Config,
    trim: fn(&mut K),
) -> (
    Store<K>,
    impl Stream<Item = Result<K, watcher::Error>> + Send + use<K>,
)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let stream = watched(client, scope, config, store.clone())
        .modify(trim)
        .reflect(writer)
        .touched_objects();
    (store, stream)
}

/// Returns the events of all watches of the scope as one stream that fills `store`.
fn watched<K>(
    client: &Client,
    scope: &Scope,
    config: &watcher::Config,
    store: Store<K>,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + use<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let watches = scope.apis::<K>(client).into_iter().map(|(namespace, api)| Watch {
        namespace,
        events: watcher(api, config.clone()).default_backoff().boxed(),
    });
    merge(watches.collect(), store)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube::runtime::reflector::store::Writer;
    use kube::runtime::watcher::Event;

    use super::*;

    fn fill<K>(writer: &mut Writer<K>)
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
    }

    #[tokio::test]
    async fn every_pass_that_waits_for_the_caches_is_woken() {
        let (sender, filled) = watch::channel(false);
        let (servers, _servers) = reflector::store();
        let (service_accounts, mut service_account_writer) = reflector::store();
        let (config_maps, mut config_map_writer) = reflector::store();
        let (deployments, mut deployment_writer) = reflector::store();
        let (services, mut service_writer) = reflector::store();
        let (network_policies, mut network_policy_writer) = reflector::store();
        let (replica_sets, mut replica_set_writer) = reflector::store();
        let (pods, mut pod_writer) = reflector::store();
        let stores = Stores {
            servers,
            service_accounts,
            config_maps,
            deployments,
            services,
            network_policies,
            replica_sets,
            pods,
            filled,
        };
        tokio::spawn(Stores::wait(stores.clone(), sender));
        let passes: Vec<_> = (0..16)
            .map(|_| {
                let stores = stores.clone();
                tokio::spawn(async move { stores.ready().await })
            })
            .collect();
        // Everybody waits before the first cache is filled.
        tokio::task::yield_now().await;
        fill(&mut service_account_writer);
        fill(&mut config_map_writer);
        fill(&mut deployment_writer);
        fill(&mut service_writer);
        fill(&mut network_policy_writer);
        fill(&mut replica_set_writer);
        tokio::task::yield_now().await;
        assert!(
            passes.iter().all(|pass| !pass.is_finished()),
            "the Pods are still missing"
        );
        fill(&mut pod_writer);
        for pass in passes {
            tokio::time::timeout(Duration::from_secs(30), pass)
                .await
                .unwrap()
                .unwrap()
                .unwrap();
        }
    }

    #[tokio::test]
    async fn an_edit_brings_a_pass_and_a_written_status_does_not() {
        let seen = |uid: &str, generation: i64, version: &str| {
            let mut server = crate::testing::server(crate::testing::QUICKSTART);
            server.metadata.uid = Some(uid.to_owned());
            server.metadata.generation = Some(generation);
            server.metadata.resource_version = Some(version.to_owned());
            Ok(DeserializeGuard(Ok(server)))
        };
        let changes = [
            seen("a", 1, "1"),
            seen("a", 1, "2"),
            seen("a", 2, "3"),
            seen("b", 1, "4"),
        ];
        let passes: Vec<String> = edits(futures::stream::iter(changes))
            .map(|server| server.unwrap().resource_version().unwrap())
            .collect()
            .await;
        assert_eq!(passes, ["1", "3", "4"]);
    }

    #[test]
    fn a_pod_belongs_to_the_object_of_its_label() {
        let pod = |labels: serde_json::Value| {
            serde_json::from_value::<Pod>(
                serde_json::json!({"metadata": {"namespace": "mcp", "labels": labels}}),
            )
            .unwrap()
        };
        let server = server_of(&pod(serde_json::json!({(names::SERVER_LABEL): "azure-devops"}))).unwrap();
        assert_eq!(
            (server.name.as_str(), server.namespace.as_deref()),
            ("azure-devops", Some("mcp"))
        );
        assert!(server_of(&pod(serde_json::json!({}))).is_none());
    }
}
