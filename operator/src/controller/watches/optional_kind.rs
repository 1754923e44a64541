//! A kind that some clusters do not serve, such as `HTTPRoute`. Its watch begins when the cluster serves it. Until then its cache is
//! empty, so that nothing waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::FutureExt as _;
use futures::{Stream, StreamExt as _, stream};
use kube::runtime::reflector::Store;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource};
use tokio::time::sleep;

use crate::api::v1alpha1::Guarded;

/// Time between two looks for the kind, while an object asks for it.
const INTERVAL: Duration = Duration::from_secs(15);

/// Whether the cluster serves the kind, as far as it was seen.
#[derive(Clone, Default)]
pub(super) struct Served(Arc<AtomicBool>);

impl Served {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Returns what was seen before.
    fn replace(&self, served: bool) -> bool {
        self.0.swap(served, Ordering::AcqRel)
    }

    /// A cluster that serves the kind.
    #[cfg(test)]
    pub(super) fn always() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

/// Where to look for the kind, and which objects ask for it.
#[derive(Clone)]
pub(super) struct OptionalKind {
    pub(super) client: Client,
    pub(super) servers: Store<Guarded>,
    pub(super) served: Served,
}

impl OptionalKind {
    /// Returns `events` once the cluster serves `K`. Until then the list of objects is empty.
    pub(super) fn once_served<K>(
        self,
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    ) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
    where
        K: Resource<DynamicType = ()> + Send,
    {
        let served = self.served.clone();
        let events = events.flat_map(move |event| {
            if event.is_ok() {
                served.replace(true);
            }
            // Somebody removed the CRD, and with it every object.
            let was_removed = event.as_ref().is_err_and(is_not_found) && served.replace(false);
            let mut events = vec![event];
            if was_removed {
                events.extend(empty_list());
            }
            stream::iter(events)
        });
        async move {
            if self.look::<K>().await {
                return events.left_stream();
            }
            let empty = stream::iter(empty_list());
            let later = async move {
                while !self.is_wanted() || !self.look::<K>().await {
                    sleep(INTERVAL).await;
                }
                tracing::info!(watch.kind = %K::kind(&()), "Cluster serves {} now", K::kind(&()));
                events
            };
            empty.chain(later.flatten_stream()).right_stream()
        }
        .flatten_stream()
    }

    /// A settled operator without such an object asks nothing.
    fn is_wanted(&self) -> bool {
        let servers = self.servers.state();
        let mut specs = servers.iter().filter_map(|server| server.0.as_ref().ok());
        specs.any(|server| server.spec.route.is_some())
    }

    /// Asks the API server until it answers whether it serves the kind.
    async fn look<K: Resource<DynamicType = ()>>(&self) -> bool {
        loop {
            match self.client.list_api_group_resources(&K::api_version(&())).await {
                Ok(list) => {
                    let found = list
                        .resources
                        .iter()
                        .any(|resource| resource.name == K::plural(&()));
                    self.served.replace(found);
                    return found;
                }
                // It does not serve the group, or not to this operator.
                Err(kube::Error::Api(status)) if [403, 404].contains(&status.code) => return false,
                Err(error) => {
                    tracing::warn!(
                        watch.kind = %K::kind(&()), error = %crate::error_chain::chain(&error),
                        "API server does not say which kinds it serves; trying again"
                    );
                    sleep(INTERVAL).await;
                }
            }
        }
    }
}

/// The events of a list without objects.
fn empty_list<K: Resource<DynamicType = ()>>() -> [watcher::Result<Event<K>>; 2] {
    [Ok(Event::Init), Ok(Event::InitDone)]
}

/// Returns whether the API server does not know the path of the kind.
fn is_not_found(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            if status.code == 404
    )
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use http::{Request, Response};
    use kube::client::Body;
    use kube::core::DeserializeGuard;
    use kube::runtime::reflector;
    use serde_json::json;
    use tower_test::mock;

    use super::*;
    use crate::controller::children::HttpRoute;
    use crate::testing::quickstart_with;

    /// An API server that answers discovery as `answers` says, the last answer for ever, and counts the questions.
    fn api_server(answers: Vec<u16>) -> (Client, Arc<std::sync::atomic::AtomicUsize>) {
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = asked.clone();
        tokio::spawn(async move {
            while let Some((request, send)) = pin!(&mut handle).next_request().await {
                assert_eq!(request.uri().path(), "/apis/gateway.networking.k8s.io/v1");
                let number = count.fetch_add(1, Ordering::SeqCst);
                let code = answers.get(number).or(answers.last()).copied().unwrap_or(404);
                let body = json!({"kind": "APIResourceList", "groupVersion": "gateway.networking.k8s.io/v1", "resources": [
                    {"name": "httproutes", "singularName": "", "namespaced": true, "kind": "HTTPRoute", "verbs": ["get"]},
                ]});
                let body = if code == 200 {
                    body.to_string()
                } else {
                    "404 page not found".to_owned()
                };
                let body = Body::from(body.into_bytes());
                send.send_response(Response::builder().status(code).body(body).unwrap());
            }
        });
        (Client::new(service, "default"), asked)
    }

    fn servers(with_route: bool) -> Store<Guarded> {
        let (store, mut writer) = reflector::store();
        let route = json!({"route": {"gateway": {"parentRefs": [{"name": "public"}]}}});
        let server = quickstart_with(if with_route { route } else { json!({}) });
        writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(server))));
        store
    }

    /// Returns how long it takes until the watch of the kind itself begins, and the events before it.
    async fn begins(kind: OptionalKind) -> (Duration, usize) {
        let begin = tokio::time::Instant::now();
        let watch = stream::iter([Err(watcher::Error::NoResourceVersion)]);
        let mut events = pin!(kind.once_served::<HttpRoute>(watch));
        let mut before = 0;
        while events.next().await.is_some_and(|event| event.is_ok()) {
            before += 1;
        }
        (begin.elapsed(), before)
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_served_is_watched_at_once() {
        let (client, _) = api_server(vec![200]);
        let served = Served::default();
        let kind = OptionalKind {
            client,
            servers: servers(false),
            served: served.clone(),
        };
        assert_eq!(begins(kind).await, (Duration::ZERO, 0));
        assert!(served.get());
    }

    #[tokio::test(start_paused = true)]
    async fn the_cache_of_a_kind_that_arrives_later_is_empty_until_then() {
        let (client, _) = api_server(vec![404, 404, 403, 200]);
        let served = Served::default();
        let kind = OptionalKind {
            client,
            servers: servers(true),
            served: served.clone(),
        };
        assert_eq!(begins(kind).await, (2 * INTERVAL, 2));
        assert!(served.get());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_asked_while_no_object_wants_the_kind() {
        let (client, asked) = api_server(vec![404]);
        let kind = OptionalKind {
            client,
            servers: servers(false),
            served: Served::default(),
        };
        let hour = Duration::from_hours(1);
        assert!(tokio::time::timeout(hour, begins(kind)).await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_fails_is_asked_again() {
        let (client, _) = api_server(vec![503, 429, 200]);
        let kind = OptionalKind {
            client,
            servers: servers(false),
            served: Served::default(),
        };
        assert_eq!(begins(kind).await, (2 * INTERVAL, 0));
    }

    #[tokio::test]
    async fn a_kind_that_is_no_longer_served_leaves_an_empty_cache_until_it_is_served_again() {
        let (client, _) = api_server(vec![200]);
        let served = Served::default();
        let kind = OptionalKind {
            client,
            servers: servers(true),
            served: served.clone(),
        };
        let gone = || {
            let status =
                kube::core::Status::failure("the server could not find the requested resource", "NotFound");
            Err(watcher::Error::WatchStartFailed(kube::Error::Api(Box::new(
                status.with_code(404),
            ))))
        };
        let watch = stream::iter([
            Ok(Event::Init),
            Ok(Event::InitDone),
            gone(),
            gone(),
            Ok(Event::Init),
        ]);
        let mut events = pin!(kind.once_served::<HttpRoute>(watch));
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            seen.push((event.is_ok(), served.get()));
        }
        let (list, error) = ((true, true), (false, false));
        let empty = (true, false);
        assert_eq!(seen, [list, list, error, empty, empty, error, list]);
    }
}
