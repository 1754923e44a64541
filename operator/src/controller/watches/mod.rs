//! The watches of the operator. Each fills a cache and triggers reconciles, so that a reconcile of a settled object asks
//! the API server for almost nothing.
//!
//! The kinds of children come from the table `watched_children`. Secrets are not watched: that would need the right to
//! list every Secret.

mod cache_wait;
mod caches;
mod compact;
mod list_permits;
mod merge;
mod no_pause;
mod optional_kind;
mod refused;
pub mod scope;
mod source;

pub use cache_wait::wait_until_cached;
pub use caches::{Stores, WatchesEnded};
pub use compact::{CachedKind, Compact, UnreadableCache};
pub(in crate::controller) use source::PAGE;

use std::sync::Arc;

use futures::channel::mpsc;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Controller, Predicate as _, PredicateConfig, WatchStreamExt as _, predicates, watcher};
use kube::{Client, Resource, ResourceExt as _};
use tokio::sync::Notify;

use super::queue::Queue;
use super::{names, public_url};
use crate::api::v1alpha1::Guarded;
use caches::ChildStores;
use list_permits::ListPermits;
use no_pause::NoPause;
use optional_kind::{OptionalKind, Served};
use refused::RefusedWatches;
use scope::Scope;
use source::{Source, cached, watched};

/// Starts every watch. Returns the controller that their events trigger, and the caches that they fill. `reports` yields
/// the objects whose Pods report a change. Each triggered object is added to `queue`. Must be called inside a runtime.
pub fn start(
    client: &Client,
    scope: &Scope,
    reports: impl Stream<Item = ObjectRef<Guarded>> + Send + 'static,
    queue: &Queue,
) -> (Controller<Guarded>, Stores) {
    let ours = watcher::Config::default().labels(names::MANAGED_SELECTOR);
    let source = Source {
        client,
        scope,
        list_permits: ListPermits::default(),
        refused: RefusedWatches::default(),
    };
    let (servers, server_stream, affected) = servers(&source, &watcher::Config::default());
    let (replica_sets, replica_set_stream) = cached::<ReplicaSet>(&source, &ours, None);
    let (pods, pod_stream) = cached::<Pod>(&source, &ours, None);
    let pod_changed = Arc::new(Notify::new());
    let notify = pod_changed.clone();
    let pod_stream = pod_stream.inspect_ok(move |_| notify.notify_one());
    let queued = || queue.clone();
    let edited = {
        let queue = queued();
        edits(server_stream).inspect_ok(move |server| {
            queue.add([ObjectRef::from_obj(server)]);
        })
    };
    let (of_set, of_pod) = (queued(), queued());
    let controller = Controller::for_stream(edited, servers.clone())
        .trigger_backoff(NoPause)
        .reconcile_on(each_added(queued(), affected))
        .reconcile_on(each_added(queued(), reports))
        .watches_stream::<Compact<ReplicaSet>, _>(replica_set_stream, move |set| of_set.add(set.server()))
        .watches_stream::<Compact<Pod>, _>(pod_stream, move |pod| of_pod.add(pod.server()));
    let optional = OptionalKind {
        client: client.clone(),
        servers: servers.clone(),
        served: Served::default(),
    };
    let (children, controller) = ChildStores::start(&source, &ours, &optional, queue, controller);
    let stores = Stores::new(
        servers,
        children,
        replica_sets,
        pods,
        pod_changed,
        optional.served,
        source.refused.clone(),
    );
    (controller, stores)
}

/// Adds each object of a stream to the queue.
fn each_added(
    queue: Queue,
    objects: impl Stream<Item = ObjectRef<Guarded>> + Send + 'static,
) -> impl Stream<Item = ObjectRef<Guarded>> + Send + 'static {
    objects.map(move |object| {
        let [object] = queue.add([object]);
        object
    })
}

/// Returns the cache of the objects, the stream of changes that fills it, and the stream of the other objects that must be
/// reconciled after such a change.
fn servers(
    source: &Source<'_>,
    config: &watcher::Config,
) -> (
    Store<Guarded>,
    impl Stream<Item = Result<Guarded, watcher::Error>> + Send + use<>,
    impl Stream<Item = ObjectRef<Guarded>> + Send + use<>,
) {
    let (store, writer) = reflector::store();
    let (sender, affected) = mpsc::unbounded();
    let before = store.clone();
    let stream = watched::<Guarded>(source, config, drop_managers, store.clone())
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

/// Filters out the operator's own writes to the status, which need no reconcile. The cache still contains
/// them. Annotations, which have no generation, may request a reconcile or a rotation of the keys.
fn edits(
    servers: impl Stream<Item = Result<Guarded, watcher::Error>> + Send + 'static,
) -> impl Stream<Item = Result<Guarded, watcher::Error>> + Send + 'static {
    let edited = predicates::generation.combine(predicates::annotations);
    servers.predicate_filter(edited, PredicateConfig::default())
}

/// Removes `managedFields`, which are often larger than the rest of the object.
fn drop_managers<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;
    use std::pin::pin;
    use std::time::Duration;

    use http::{Request, Response};
    use kube::client::Body;
    use kube::core::DeserializeGuard;
    use kube::runtime::controller::Action;
    use tower_test::mock;

    use super::*;

    #[tokio::test]
    async fn an_edit_or_an_annotation_triggers_a_reconcile_and_a_written_status_does_not() {
        let seen = |uid: &str, generation: i64, version: &str| {
            let mut server = crate::testing::server(crate::testing::QUICKSTART);
            server.metadata.uid = Some(uid.to_owned());
            server.metadata.generation = Some(generation);
            server.metadata.resource_version = Some(version.to_owned());
            Ok(DeserializeGuard(Ok(server)))
        };
        let requested = seen("b", 1, "5").map(|mut object| {
            object
                .annotations_mut()
                .insert("behalf.dev/reconcile-at".to_owned(), "now".to_owned());
            object
        });
        let changes = [
            seen("a", 1, "1"),
            seen("a", 1, "2"),
            seen("a", 2, "3"),
            seen("b", 1, "4"),
            requested,
        ];
        let reconciles: Vec<String> = edits(futures::stream::iter(changes))
            .map(|server| server.unwrap().resource_version().unwrap())
            .collect()
            .await;
        assert_eq!(reconciles, ["1", "3", "4", "5"]);
    }

    #[tokio::test]
    async fn every_kind_of_the_table_is_watched_beside_the_objects_and_what_their_deployments_create() {
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        let scope = Scope::Namespaces(vec!["mcp".to_owned()]);
        let (controller, stores) = start(
            &Client::new(service, "default"),
            &scope,
            futures::stream::pending(),
            &Queue::default(),
        );
        let running = tokio::spawn(async move {
            let reconcile = |_, _| std::future::ready(Ok(Action::await_change()));
            let policy = |_: Arc<Guarded>, _: &Infallible, _: Arc<()>| Action::await_change();
            let results = controller.run(reconcile, policy, Arc::new(()));
            results.for_each(|_| std::future::ready(())).await;
        });
        let watched = async {
            let mut watched = BTreeSet::new();
            let mut unanswered = Vec::new();
            while watched.len() < 10 {
                let (request, answer) = pin!(&mut handle).next_request().await.unwrap();
                let query = request.uri().query().unwrap_or_default();
                if query.contains("watch=") {
                    let (_, kind) = request.uri().path().rsplit_once('/').unwrap();
                    watched.insert(kind.to_owned());
                    unanswered.push(answer);
                } else if request.uri().path() == "/apis/gateway.networking.k8s.io/v1" {
                    let kinds = serde_json::json!({"groupVersion": "gateway.networking.k8s.io/v1", "resources": [
                        {"name": "httproutes", "singularName": "", "namespaced": true, "kind": "HTTPRoute", "verbs": []},
                    ]});
                    answer.send_response(Response::new(Body::from(kinds.to_string().into_bytes())));
                } else {
                    let list = serde_json::json!({"metadata": {"resourceVersion": "1"}, "items": []});
                    answer.send_response(Response::new(Body::from(list.to_string().into_bytes())));
                }
            }
            watched
        };
        let watched = tokio::time::timeout(Duration::from_secs(30), watched)
            .await
            .unwrap();
        let expected = [
            "configmaps",
            "deployments",
            "httproutes",
            "mcpservers",
            "networkpolicies",
            "poddisruptionbudgets",
            "pods",
            "replicasets",
            "serviceaccounts",
            "services",
        ];
        assert_eq!(watched, BTreeSet::from(expected.map(str::to_owned)));
        running.abort();
        drop(stores);
    }
}
