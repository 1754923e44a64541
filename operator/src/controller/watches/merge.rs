//! One stream of changes from several watches of the same kind.
//!
//! A reflector's store accepts the events of one watch alone: each watch begins with a list, and begins again with one
//! after an interruption, and a list replaces the whole store. [`merge`] therefore reports the first lists of all
//! watches as one list, and each later list as changes. A namespace in which the operator may not list does not delay
//! the others: it counts as empty until the operator may list.

use std::collections::HashMap;

use futures::stream::{BoxStream, select_all};
use futures::{Stream, StreamExt as _, stream};
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};

use crate::error_chain::GRANT_RIGHTS;

/// A watch of one namespace, or of all.
pub(super) struct Watch<K> {
    /// The namespace; `None` for all.
    pub(super) namespace: Option<String>,

    /// The events of the watch.
    pub(super) events: BoxStream<'static, watcher::Result<Event<K>>>,
}

/// Merges the events of watches that cover different objects. `store` is the store that the merged events fill.
pub(super) fn merge<K>(
    watches: Vec<Watch<K>>,
    store: Store<K>,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let mut parts = Vec::new();
    let mut streams = Vec::new();
    for (index, Watch { namespace, events }) in watches.into_iter().enumerate() {
        parts.push(Part {
            namespace,
            listed: HashMap::new(),
            is_listed: false,
            is_refused: false,
        });
        streams.push(events.map(move |event| (index, event)).boxed());
    }
    let mut merged = Merged {
        parts,
        store,
        is_filled: false,
    };
    select_all(streams).flat_map(move |(index, event)| {
        let events: Vec<watcher::Result<Event<K>>> = match event {
            Ok(event) => merged.events(index, event).into_iter().map(Ok).collect(),
            Err(error) => {
                let filling = if is_list_forbidden(&error) {
                    merged.refuse(index)
                } else {
                    Vec::new()
                };
                std::iter::once(Err(error))
                    .chain(filling.into_iter().map(Ok))
                    .collect()
            }
        };
        stream::iter(events)
    })
}

struct Merged<K: Resource<DynamicType = ()> + 'static> {
    parts: Vec<Part<K>>,
    store: Store<K>,

    /// Whether the first lists of all parts were reported.
    is_filled: bool,
}

/// The objects of one watch.
struct Part<K: Resource<DynamicType = ()>> {
    namespace: Option<String>,

    /// The objects of a list that was not reported yet.
    listed: HashMap<ObjectRef<K>, K>,

    /// Whether that list is complete.
    is_listed: bool,

    /// Whether the operator lacks the right to list here.
    is_refused: bool,
}

impl<K: Resource<DynamicType = ()>> Part<K> {
    fn covers(&self, object: &K) -> bool {
        self.namespace.is_none() || self.namespace == object.meta().namespace
    }
}

impl<K> Merged<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// Returns the events to report for one event of the watch `index`.
    fn events(&mut self, index: usize, event: Event<K>) -> Vec<Event<K>> {
        let Some(part) = self.parts.get_mut(index) else {
            return Vec::new();
        };
        match event {
            Event::Init => {
                part.listed.clear();
                part.is_listed = false;
                part.is_refused = false;
            }
            Event::InitDone if self.is_filled => return self.changes(index),
            Event::InitDone => {
                part.is_listed = true;
                return self.first_list_if_complete();
            }
            change @ (Event::Apply(_) | Event::Delete(_)) if self.is_filled => return vec![change],
            // Until every watch has listed its objects, each list is kept up to date.
            Event::InitApply(object) | Event::Apply(object) => {
                part.listed.insert(ObjectRef::from_obj(&object), object);
            }
            Event::Delete(object) => {
                part.listed.remove(&ObjectRef::from_obj(&object));
            }
        }
        Vec::new()
    }

    /// Handles that the operator may not list the part `index`.
    fn refuse(&mut self, index: usize) -> Vec<Event<K>> {
        if self.is_filled {
            return Vec::new();
        }
        let Some(part) = self.parts.get_mut(index) else {
            return Vec::new();
        };
        let (kind, namespace) = (K::kind(&()), part.namespace.as_deref().unwrap_or("all"));
        let waiting = match part.namespace {
            Some(_) => "other namespaces do not wait for it",
            None => "the operator is not ready until it may",
        };
        tracing::warn!(
            watch.namespace = namespace,
            watch.kind = %kind,
            "Operator may not list {kind} objects in namespace {namespace}; {waiting}; {GRANT_RIGHTS}"
        );
        part.listed.clear();
        part.is_refused = true;
        self.first_list_if_complete()
    }

    /// If no part can be listed, the store stays unfilled and the operator is not ready.
    fn first_list_if_complete(&mut self) -> Vec<Event<K>> {
        let is_complete = self.parts.iter().all(|part| part.is_listed || part.is_refused)
            && self.parts.iter().any(|part| part.is_listed);
        if is_complete {
            self.first_list()
        } else {
            Vec::new()
        }
    }

    fn first_list(&mut self) -> Vec<Event<K>> {
        self.is_filled = true;
        let listed = self.parts.iter_mut().flat_map(|part| part.listed.drain());
        let mut events = vec![Event::Init];
        events.extend(listed.map(|(_, object)| Event::InitApply(object)));
        events.push(Event::InitDone);
        events
    }

    /// Returns the changes by a later list: the objects that it contains, and the objects of its part that it
    /// no longer contains.
    fn changes(&mut self, index: usize) -> Vec<Event<K>> {
        let Some(part) = self.parts.get_mut(index) else {
            return Vec::new();
        };
        let gone = self.store.state_filter(|object| {
            part.covers(object) && !part.listed.contains_key(&ObjectRef::from_obj(object))
        });
        let mut events: Vec<_> = gone
            .into_iter()
            .map(|object| Event::Delete(object.as_ref().clone()))
            .collect();
        events.extend(part.listed.drain().map(|(_, object)| Event::Apply(object)));
        events
    }
}

/// Returns whether the API server refuses a list because the operator lacks the right.
fn is_list_forbidden(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 403)
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc::{UnboundedSender, unbounded};
    use futures::{FutureExt as _, pin_mut};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt as _;
    use kube::runtime::{WatchStreamExt as _, reflector};
    use serde_json::json;

    use super::*;

    type Sender = UnboundedSender<watcher::Result<Event<ConfigMap>>>;

    fn config_map(namespace: &str, name: &str, version: &str) -> ConfigMap {
        serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": name, "resourceVersion": version},
        }))
        .unwrap()
    }

    fn watch(namespace: Option<&str>) -> (Sender, Watch<ConfigMap>) {
        let (sender, receiver) = unbounded();
        let watch = Watch {
            namespace: namespace.map(str::to_owned),
            events: receiver.boxed(),
        };
        (sender, watch)
    }

    fn send(sender: &Sender, events: impl IntoIterator<Item = Event<ConfigMap>>) {
        for event in events {
            sender.unbounded_send(Ok(event)).unwrap();
        }
    }

    fn list(sender: &Sender, namespace: &str, names: &[(&str, &str)]) {
        send(sender, [Event::Init]);
        let objects = names
            .iter()
            .map(|(name, version)| Event::InitApply(config_map(namespace, name, version)));
        send(sender, objects);
        send(sender, [Event::InitDone]);
    }

    fn contents(store: &Store<ConfigMap>) -> Vec<String> {
        let mut all: Vec<String> = store
            .state()
            .iter()
            .map(|object| {
                let namespace = object.namespace().unwrap();
                let version = object.resource_version().unwrap();
                format!("{namespace}/{}@{version}", object.name_any())
            })
            .collect();
        all.sort();
        all
    }

    /// Two watches, merged into one store; `$drain` reads what was sent so far.
    macro_rules! two_namespaces {
        ($one:ident, $two:ident, $store:ident, $drain:ident) => {
            let ($one, first) = watch(Some("one"));
            let ($two, second) = watch(Some("two"));
            let ($store, writer) = reflector::store();
            let stream = merge(vec![first, second], $store.clone()).reflect(writer);
            pin_mut!(stream);
            let mut $drain = || {
                let mut seen = Vec::new();
                while let Some(Some(event)) = stream.next().now_or_never() {
                    seen.push(event);
                }
                seen
            };
        };
    }

    #[test]
    fn the_store_is_ready_once_every_namespace_was_listed() {
        two_namespaces!(one, two, store, drain);
        list(&one, "one", &[("a", "1")]);
        send(
            &one,
            [
                Event::Apply(config_map("one", "b", "2")),
                Event::Delete(config_map("one", "a", "3")),
            ],
        );
        assert!(drain().is_empty());
        assert!(store.wait_until_ready().now_or_never().is_none());

        list(&two, "two", &[("a", "4")]);
        drain();
        assert!(store.wait_until_ready().now_or_never().is_some());
        assert_eq!(contents(&store), ["one/b@2", "two/a@4"]);
    }

    #[test]
    fn a_namespace_that_is_listed_again_leaves_the_others_alone() {
        two_namespaces!(one, two, store, drain);
        list(&one, "one", &[("gone", "1"), ("stays", "2")]);
        list(&two, "two", &[("stays", "3")]);
        drain();

        list(&one, "one", &[("new", "5"), ("stays", "4")]);
        let seen = drain();
        assert_eq!(contents(&store), ["one/new@5", "one/stays@4", "two/stays@3"]);
        let deleted: Vec<String> = seen
            .iter()
            .filter_map(|event| match event {
                Ok(Event::Delete(object)) => Some(object.name_any()),
                _ => None,
            })
            .collect();
        assert_eq!(deleted, ["gone"], "what owned it hears of it");
    }

    fn refuse(sender: &Sender, code: u16) {
        send(sender, [Event::Init]);
        let status = kube::core::Status::failure("no", "Refused")
            .with_code(code)
            .boxed();
        let error = watcher::Error::InitialListFailed(kube::Error::Api(status));
        sender.unbounded_send(Err(error)).unwrap();
    }

    #[test]
    fn a_namespace_that_refuses_its_list_does_not_hold_up_the_others() {
        two_namespaces!(one, two, store, drain);
        refuse(&two, 403);
        drain();
        assert!(
            store.wait_until_ready().now_or_never().is_none(),
            "nothing was listed"
        );
        list(&one, "one", &[("a", "1")]);
        drain();
        assert!(store.wait_until_ready().now_or_never().is_some());
        assert_eq!(contents(&store), ["one/a@1"]);

        // Once the right is granted, its list arrives as changes.
        list(&two, "two", &[("b", "2")]);
        drain();
        assert_eq!(contents(&store), ["one/a@1", "two/b@2"]);
    }

    #[test]
    fn a_list_that_fails_for_another_reason_is_waited_for() {
        two_namespaces!(one, two, store, drain);
        list(&one, "one", &[("a", "1")]);
        refuse(&two, 500);
        drain();
        assert!(store.wait_until_ready().now_or_never().is_none());
    }

    #[test]
    fn a_list_that_was_interrupted_counts_for_nothing() {
        two_namespaces!(one, two, store, drain);
        list(&one, "one", &[("a", "1")]);
        list(&two, "two", &[]);
        drain();
        send(&one, [Event::Init, Event::InitApply(config_map("one", "b", "2"))]);
        drain();
        assert_eq!(contents(&store), ["one/a@1"]);
        list(&one, "one", &[("c", "3")]);
        drain();
        assert_eq!(contents(&store), ["one/c@3"]);
    }

    #[test]
    fn changes_and_errors_pass() {
        two_namespaces!(one, two, store, drain);
        list(&one, "one", &[]);
        list(&two, "two", &[("a", "1")]);
        drain();
        send(&one, [Event::Apply(config_map("one", "a", "2"))]);
        send(&two, [Event::Delete(config_map("two", "a", "3"))]);
        one.unbounded_send(Err(watcher::Error::NoResourceVersion))
            .unwrap();
        let seen = drain();
        assert_eq!(contents(&store), ["one/a@2"]);
        assert_eq!(seen.iter().filter(|event| event.is_err()).count(), 1);
    }

    #[test]
    fn one_watch_of_all_namespaces_covers_each_of_them() {
        let (all, watch) = watch(None);
        let (store, writer) = reflector::store();
        let stream = merge(vec![watch], store.clone()).reflect(writer);
        pin_mut!(stream);
        list(&all, "one", &[("a", "1")]);
        while let Some(Some(_)) = stream.next().now_or_never() {}
        list(&all, "two", &[("b", "2")]);
        while let Some(Some(_)) = stream.next().now_or_never() {}
        assert_eq!(contents(&store), ["two/b@2"]);
    }
}
