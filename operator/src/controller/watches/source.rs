//! The watches of one kind in all watched namespaces, and the cache that they fill.

use std::fmt::Debug;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::compact::{CachedKind, Compact};
use super::list_permits::ListPermits;
use super::merge::{Watch, merge};
use super::optional_kind::OptionalKind;
use super::refused::RefusedWatches;
use super::scope::Scope;
use crate::api::v1alpha1::Guarded;

/// Shared by all watches: the client, the namespaces, the permits for lists, and the record of refusals.
pub(super) struct Source<'a> {
    pub(super) client: &'a Client,
    pub(super) scope: &'a Scope,
    pub(super) list_permits: ListPermits,
    pub(super) refused: RefusedWatches,
}

/// Number of objects in one answer to a list. The operator has the text and the objects of such an answer in memory at the same time.
pub(in crate::controller) const PAGE: u32 = 25;

/// Creates a cache and the stream of changes that fills it. `optional` is for a kind that some clusters do not
/// serve.
pub(super) fn cached<K>(
    source: &Source<'_>,
    config: &watcher::Config,
    optional: Option<OptionalKind>,
) -> (
    Store<Compact<K>>,
    impl Stream<Item = Result<Compact<K>, watcher::Error>> + Send + use<K>,
)
where
    K: CachedKind,
{
    let (store, writer) = reflector::store();
    // An object is trimmed when it becomes compact.
    let events = watched::<Compact<K>>(source, config, |_| {}, store.clone());
    let events = match optional {
        Some(kind) => kind.once_served(events).left_stream(),
        None => events.right_stream(),
    };
    let stream = events.reflect(writer).touched_objects();
    (store, stream)
}

/// Returns the events of all watches of the scope as one stream that fills `store`. `trim` is called before the lists of all watches
/// are kept to become one: whole objects need several times the memory of trimmed ones.
pub(super) fn watched<K>(
    source: &Source<'_>,
    config: &watcher::Config,
    trim: fn(&mut K),
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
    let Source {
        client,
        scope,
        list_permits,
        refused,
    } = source;
    let watches = scope.apis::<K>(client).into_iter().map(|(namespace, api)| {
        let (refused, of) = (refused.clone(), namespace.clone());
        let events = watcher(api, config.clone().page_size(PAGE))
            .default_backoff()
            .modify(trim)
            .inspect_err(move |error| refused.record::<K>(of.as_deref(), error));
        Watch {
            namespace,
            events: list_permits.limited(events),
        }
    });
    merge(watches.collect(), store)
}

/// Returns the objects that own a child.
pub(super) fn owners_of(child: &impl Resource) -> Vec<ObjectRef<Guarded>> {
    let namespace = child.namespace().unwrap_or_default();
    child
        .owner_references()
        .iter()
        .filter_map(|owner| ObjectRef::from_owner_ref(Some(&namespace), owner, ()))
        .collect()
}
