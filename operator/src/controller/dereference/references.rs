//! The objects that `McpServers` name: `ConfigMaps` with certificate authorities, and given `ServiceAccounts`.
//!
//! A cluster may have thousands that no `McpServer` names, so that no cache contains them. Each is read when it is needed, and
//! again only after a watch has reported a change of it. The watch shows the metadata alone, and begins with the first read.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::select_all;
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use tokio::sync::Notify;

use super::cluster_state::BEGIN_CERTIFICATE;
use super::error::DereferenceError;
use crate::api::v1alpha1::{Guarded, McpServer};
use crate::controller::children::ChildKind;
use crate::controller::names;
use crate::controller::watches::PAGE;
use crate::controller::watches::scope::Scope;
use crate::error_chain::chain;

/// Maximum number of objects of one kind that an `McpServer` names: a certificate authority for Entra, and one for Redis.
const MAX_NAMES: usize = 2;

/// The referenced objects that were read, with the objects that asked for them.
#[derive(Debug, Default)]
pub struct References {
    /// `ConfigMaps` with certificate authorities.
    pub config_maps: ReferenceCache<ConfigMap>,

    /// Given `ServiceAccounts`.
    pub service_accounts: ReferenceCache<ServiceAccount>,
}

impl References {
    /// Returns the objects that name something that has changed since it was read. Watches as long as the stream is read.
    pub fn changes(
        self: Arc<Self>,
        client: &Client,
        scope: &Scope,
    ) -> impl Stream<Item = ObjectRef<Guarded>> + Send + use<> {
        let config_maps = changes(client, scope, self.clone(), |all| &all.config_maps);
        let service_accounts = changes(client, scope, self, |all| &all.service_accounts);
        stream::select(config_maps, service_accounts)
    }

    /// Removes what no existing object has asked for.
    pub fn keep_only(&self, exists: impl Fn(&ObjectRef<Guarded>) -> bool) {
        self.config_maps.keep_only(&exists);
        self.service_accounts.keep_only(&exists);
    }
}

/// A kind of object that an `McpServer` names.
pub trait ReferencedKind: ChildKind + Send + Sync + 'static {
    /// Removes what no reconcile needs.
    fn trim(&mut self);
}

impl ReferencedKind for ConfigMap {
    /// Keeps of each value only whether a certificate begins in it: a bundle has hundreds of kilobytes.
    fn trim(&mut self) {
        *self.meta_mut() = identity(self.meta());
        let is_bundle = |value: &[u8]| {
            let mut windows = value.windows(BEGIN_CERTIFICATE.len());
            windows.any(|window| window == BEGIN_CERTIFICATE.as_bytes())
        };
        let kept = |value: &[u8]| if is_bundle(value) { BEGIN_CERTIFICATE } else { "" };
        for value in self.data.iter_mut().flat_map(|data| data.values_mut()) {
            *value = kept(value.as_bytes()).to_owned();
        }
        for value in self.binary_data.iter_mut().flat_map(|data| data.values_mut()) {
            *value = ByteString(kept(&value.0).as_bytes().to_vec());
        }
    }
}

impl ReferencedKind for ServiceAccount {
    /// Keeps its owners, and the annotation that says which objects may use it.
    fn trim(&mut self) {
        let mut annotations = self.meta_mut().annotations.take().unwrap_or_default();
        annotations.retain(|name, _| name == names::SHARED_WITH_ANNOTATION);
        *self.meta_mut() = ObjectMeta {
            annotations: Some(annotations),
            owner_references: self.meta_mut().owner_references.take(),
            ..identity(self.meta())
        };
    }
}

/// Returns what identifies an object and its version. Annotations and labels of others may have a quarter of a megabyte.
fn identity(meta: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        resource_version: meta.resource_version.clone(),
        ..ObjectMeta::default()
    }
}

/// The objects of one kind that were read.
#[derive(Debug)]
pub struct ReferenceCache<K> {
    state: Mutex<CacheState<K>>,

    /// Wakes the watches at the first read. One waits for each kind.
    wanted: Notify,
}

impl<K> Default for ReferenceCache<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(CacheState {
                watched: HashSet::new(),
                objects: HashMap::new(),
                names: HashMap::new(),
                last_read: 0,
            }),
            wanted: Notify::new(),
        }
    }
}

#[derive(Debug)]
struct CacheState<K> {
    /// The namespaces whose changes are reported; `None` is all of them. Nothing else is kept.
    watched: HashSet<Option<String>>,

    /// By namespace and name.
    objects: HashMap<(String, String), CacheEntry<K>>,

    /// The names that each object has asked for, the oldest first.
    names: HashMap<ObjectRef<Guarded>, VecDeque<String>>,

    /// The last number of a read.
    last_read: u64,
}

#[derive(Debug)]
struct CacheEntry<K> {
    read: ReadState<K>,

    /// Objects that asked for this name. May include objects that no longer name it; the extra reconcile is harmless. Limited
    /// to the last [`MAX_NAMES`] names of each object.
    users: HashSet<ObjectRef<Guarded>>,
}

#[derive(Debug)]
enum ReadState<K> {
    /// A read with this number has begun, and no change was reported since. Later reads of the same entry use the same number.
    Begun(u64),

    /// The object, unless none has this name.
    Done(Option<K>),
}

impl<K: ReferencedKind> ReferenceCache<K> {
    /// Returns the object of this name in the namespace of `user`, or `None` if there is none.
    pub async fn get(
        &self,
        client: &Client,
        user: &McpServer,
        name: &str,
    ) -> Result<Option<K>, DereferenceError> {
        self.wanted.notify_one();
        let namespace = user.namespace().unwrap_or_default();
        let key = (namespace.clone(), name.to_owned());
        let user = ObjectRef::new(&user.name_any()).within(&namespace);
        let number = {
            let mut guard = self.lock();
            let state = &mut *guard;
            state.forget_older_names(&user, &key);
            if let Some(known) = state.objects.get_mut(&key) {
                known.users.insert(user);
                match &known.read {
                    ReadState::Done(object) => return Ok(object.clone()),
                    ReadState::Begun(number) => *number,
                }
            } else {
                state.last_read += 1;
                if state.is_watched(&namespace) {
                    let known = CacheEntry {
                        read: ReadState::Begun(state.last_read),
                        users: HashSet::from([user]),
                    };
                    state.objects.insert(key.clone(), known);
                }
                state.last_read
            }
        };
        let mut object: Option<K> = get(client, &namespace, name).await?;
        if let Some(object) = &mut object {
            object.trim();
        }
        // After a change in the meantime the next reconcile reads again.
        if let Some(known) = self.lock().objects.get_mut(&key)
            && let ReadState::Begun(begun) = known.read
            && begun == number
        {
            known.read = ReadState::Done(object.clone());
        }
        Ok(object)
    }

    /// Handles an event of the watch of a namespace. Returns the users of an object that has changed since it was read.
    fn handle(
        &self,
        watched: Option<&str>,
        event: &Event<PartialObjectMeta<K>>,
    ) -> HashSet<ObjectRef<Guarded>> {
        let mut state = self.lock();
        match event {
            // Changes before the list are not reported one by one.
            Event::Init => {
                state.watched.remove(&watched.map(str::to_owned));
                state
                    .objects
                    .retain(|(namespace, _), _| watched.is_some_and(|watched| watched != namespace));
            }
            Event::InitApply(_) => {}
            Event::InitDone => {
                state.watched.insert(watched.map(str::to_owned));
            }
            Event::Apply(changed) | Event::Delete(changed) => {
                let key = (changed.namespace().unwrap_or_default(), changed.name_any());
                let is_same = |known: &CacheEntry<K>| {
                    let version = |object: &K| object.meta().resource_version.clone();
                    matches!(&known.read, ReadState::Done(Some(object)) if version(object) == changed.resource_version())
                };
                if matches!(event, Event::Delete(_)) || !state.objects.get(&key).is_some_and(is_same) {
                    return state
                        .objects
                        .remove(&key)
                        .map(|known| known.users)
                        .unwrap_or_default();
                }
            }
        }
        HashSet::new()
    }

    fn keep_only(&self, exists: impl Fn(&ObjectRef<Guarded>) -> bool) {
        let mut state = self.lock();
        state.names.retain(|user, _| exists(user));
        state.objects.retain(|_, known| {
            known.users.retain(&exists);
            !known.users.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, CacheState<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> CacheState<K> {
    /// Records that an object names another one, and forgets what it named longest ago beyond [`MAX_NAMES`]: otherwise one object
    /// could fill the memory by naming many, one after the other.
    fn forget_older_names(&mut self, user: &ObjectRef<Guarded>, (namespace, name): &(String, String)) {
        let names = self.names.entry(user.clone()).or_default();
        names.retain(|known| known != name);
        names.push_back(name.clone());
        while names.len() > MAX_NAMES
            && let Some(oldest) = names.pop_front()
        {
            let key = (namespace.clone(), oldest);
            if let Some(known) = self.objects.get_mut(&key) {
                known.users.remove(user);
                if known.users.is_empty() {
                    self.objects.remove(&key);
                }
            }
        }
    }

    fn is_watched(&self, namespace: &str) -> bool {
        self.watched.contains(&None) || self.watched.contains(&Some(namespace.to_owned()))
    }
}

fn changes<K: ReferencedKind>(
    client: &Client,
    scope: &Scope,
    all: Arc<References>,
    of: fn(&References) -> &ReferenceCache<K>,
) -> impl Stream<Item = ObjectRef<Guarded>> + Send + use<K> {
    let apis: Vec<(Option<String>, Api<PartialObjectMeta<K>>)> = scope.apis(client);
    async move {
        of(&all).wanted.notified().await;
        let watches = apis.into_iter().map(|(namespace, api)| {
            let events = watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff();
            events.map(move |event| (namespace.clone(), event)).boxed()
        });
        select_all(watches).flat_map(move |(namespace, event)| {
            let affected = match event {
                Ok(event) => of(&all).handle(namespace.as_deref(), &event),
                Err(error) => {
                    tracing::warn!(
                        watch.kind = K::KIND, error = %chain(&error),
                        "Watch of objects that McpServers refer to was interrupted and starts again"
                    );
                    if is_list_or_watch_forbidden(&error) {
                        // The watch reports nothing any more, and begins with a list if the right returns.
                        of(&all).handle(namespace.as_deref(), &Event::Init);
                    }
                    HashSet::new()
                }
            };
            stream::iter(affected)
        })
    }
    .flatten_stream()
}

/// Returns whether the operator lacks the right to list or to watch.
fn is_list_or_watch_forbidden(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        WatchError(status) => status.code == 403,
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => {
            matches!(error, kube::Error::Api(status) if status.code == 403)
        }
        NoResourceVersion => false,
    }
}

/// Reads an object, or returns `None` if it does not exist.
pub(super) async fn get<K: ChildKind>(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<K>, DereferenceError> {
    // The name becomes a part of the request's path. No object has an invalid name; validation reports it.
    if !names::is_subdomain(name) {
        return Ok(None);
    }
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.get_opt(name)
        .await
        .map_err(|error| DereferenceError::Request {
            kind: K::KIND,
            name: name.to_owned(),
            source: Box::new(error),
        })
}

#[cfg(test)]
mod tests;
