//! Tests when the objects that `McpServers` name are read again.

use std::pin::pin;

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock;

use super::*;
use crate::testing::{QUICKSTART, server};

/// An API server that answers each read of the `ConfigMap` with the next version, and lists and watches of `ConfigMaps`.
/// Each watch reports one change and ends, so that the next one reports another: the first may come before an object is kept.
fn api_server(mut handle: mock::Handle<Request<Body>, Response<Body>>) {
    tokio::spawn(async move {
        let (mut version, mut changed) = (0, 1000);
        while let Some((request, answer)) = pin!(&mut handle).next_request().await {
            let query = request.uri().query().unwrap_or_default();
            let body = if request.uri().path().contains("/configmaps/") {
                version += 1;
                config_map(version)
            } else if !query.contains("watch=") {
                json!({"metadata": {"resourceVersion": "1"}, "items": []})
            } else {
                changed += 1;
                json!({"type": "MODIFIED", "object": config_map(changed)})
            };
            answer.send_response(Response::new(Body::from(body.to_string().into_bytes())));
        }
    });
}

fn config_map(version: u32) -> Value {
    json!({
        "metadata": {"namespace": "mcp", "name": "corporate-ca", "resourceVersion": version.to_string()},
        "data": {"ca.crt": format!("{BEGIN_CERTIFICATE}\nAAAA"), "notes": "text"},
    })
}

fn event(version: u32) -> Event<PartialObjectMeta<ConfigMap>> {
    Event::Apply(serde_json::from_value(config_map(version)).unwrap())
}

/// Reads of a namespace whose changes are reported.
fn watched() -> ReferenceCache<ConfigMap> {
    let cache = ReferenceCache::default();
    cache.handle(None, &Event::Init);
    cache.handle(None, &Event::InitDone);
    cache
}

async fn version(cache: &ReferenceCache<ConfigMap>, client: &Client) -> String {
    let object = cache.get(client, &user(), "corporate-ca").await.unwrap();
    object.unwrap().resource_version().unwrap()
}

fn client() -> Client {
    let (service, handle) = mock::pair();
    api_server(handle);
    Client::new(service, "default")
}

/// The object that reads.
fn user() -> McpServer {
    server(QUICKSTART)
}

fn users() -> HashSet<ObjectRef<Guarded>> {
    HashSet::from([ObjectRef::new(&user().name_any()).within("mcp")])
}

#[tokio::test]
async fn an_object_is_read_once_and_again_when_a_change_is_reported() {
    let (client, cache) = (client(), watched());
    assert_eq!(version(&cache, &client).await, "1");
    assert_eq!(version(&cache, &client).await, "1");
    assert_eq!(
        cache.handle(None, &event(1)),
        HashSet::new(),
        "it was read in this version"
    );
    assert_eq!(version(&cache, &client).await, "1");
    assert_eq!(cache.handle(None, &event(2)), users());
    assert_eq!(version(&cache, &client).await, "2");
    let deleted = Event::Delete(serde_json::from_value(config_map(2)).unwrap());
    assert_eq!(cache.handle(None, &deleted), users());
    assert_eq!(version(&cache, &client).await, "3");
}

#[tokio::test]
async fn an_object_is_read_each_time_while_no_watch_reports_its_changes() {
    let (client, cache) = (client(), ReferenceCache::default());
    assert_eq!(version(&cache, &client).await, "1");
    assert_eq!(version(&cache, &client).await, "2");
    let elsewhere = Some("other");
    cache.handle(elsewhere, &Event::InitDone);
    assert_eq!(version(&cache, &client).await, "3");
    assert_eq!(version(&cache, &client).await, "4");
    let here = Some("mcp");
    cache.handle(here, &Event::InitDone);
    assert_eq!(version(&cache, &client).await, "5");
    assert_eq!(version(&cache, &client).await, "5");
    cache.handle(elsewhere, &Event::Init);
    assert_eq!(version(&cache, &client).await, "5");
    cache.handle(here, &Event::Init);
    assert_eq!(
        version(&cache, &client).await,
        "6",
        "changes may have been missed"
    );
}

#[tokio::test]
async fn a_change_that_is_reported_during_a_read_is_not_lost() {
    let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
    let (client, cache) = (Client::new(service, "default"), Arc::new(watched()));
    let reading = {
        let (client, cache) = (client.clone(), cache.clone());
        tokio::spawn(async move { version(&cache, &client).await })
    };
    let (_, answer) = pin!(&mut handle).next_request().await.unwrap();
    assert_eq!(cache.handle(None, &event(2)), users());
    answer.send_response(Response::new(Body::from(config_map(1).to_string().into_bytes())));
    assert_eq!(reading.await.unwrap(), "1");
    let again = tokio::spawn(async move { version(&cache, &client).await });
    let (_, answer) = pin!(&mut handle).next_request().await.unwrap();
    answer.send_response(Response::new(Body::from(config_map(2).to_string().into_bytes())));
    assert_eq!(again.await.unwrap(), "2");
}

#[tokio::test]
async fn a_change_reconciles_the_objects_that_have_asked_for_what_changed() {
    let (client, references) = (client(), Arc::new(References::default()));
    let scope = Scope::Namespaces(vec!["mcp".to_owned()]);
    let mut changes = Box::pin(references.clone().changes(&client, &scope));
    // The first read begins the watch, and only a read after the first list is kept.
    let reading = async {
        loop {
            version(&references.config_maps, &client).await;
            tokio::task::yield_now().await;
        }
    };
    let affected = tokio::select! {
        affected = changes.next() => affected.unwrap(),
        () = reading => unreachable!("it reads for ever"),
    };
    assert_eq!(HashSet::from([affected]), users());
}

#[tokio::test]
async fn an_object_that_names_one_after_the_other_keeps_two() {
    let (client, cache) = (client(), watched());
    for number in 0..5 {
        let name = format!("bundle-{number}");
        cache.get(&client, &user(), &name).await.unwrap();
    }
    assert_eq!(cache.lock().objects.len(), MAX_NAMES);
    cache.keep_only(|_| false);
    let state = cache.lock();
    assert_eq!((state.objects.len(), state.names.len()), (0, 0));
}

#[test]
fn annotations_of_others_are_not_kept() {
    let annotations = json!({(names::SHARED_WITH_ANNOTATION): "azure-devops", "other": "text"});
    let mut account: ServiceAccount = serde_json::from_value(json!({
        "metadata": {"name": "given", "annotations": annotations, "labels": {"a": "b"}},
    }))
    .unwrap();
    account.trim();
    let kept: Vec<_> = account.annotations().keys().collect();
    assert_eq!(kept, [names::SHARED_WITH_ANNOTATION]);
    assert!(account.labels().is_empty());
    let mut bundle: ConfigMap = serde_json::from_value(config_map(1)).unwrap();
    bundle
        .annotations_mut()
        .insert("other".to_owned(), "text".to_owned());
    bundle.trim();
    assert!(bundle.annotations().is_empty());
    assert_eq!(bundle.resource_version().as_deref(), Some("1"));
}

#[test]
fn a_bundle_is_kept_as_its_first_line_and_other_texts_not_at_all() {
    let mut bundle: ConfigMap = serde_json::from_value(config_map(1)).unwrap();
    bundle.binary_data = Some([("der".to_owned(), ByteString(vec![0, 1]))].into());
    bundle.trim();
    let data = bundle.data.unwrap();
    assert_eq!(data["ca.crt"], BEGIN_CERTIFICATE);
    assert_eq!(data["notes"], "");
    assert!(bundle.binary_data.unwrap()["der"].0.is_empty());
}

#[tokio::test]
async fn references_of_deleted_objects_alone_are_not_kept() {
    let (client, cache) = (client(), watched());
    assert_eq!(version(&cache, &client).await, "1");
    cache.keep_only(|_| true);
    assert_eq!(version(&cache, &client).await, "1");
    cache.keep_only(|_| false);
    assert_eq!(version(&cache, &client).await, "2");
}

#[tokio::test]
async fn no_request_is_made_for_an_invalid_name() {
    for name in [
        "../secrets/azure-devops-keyring",
        "a/b",
        "a?b",
        "..",
        "",
        "a..b",
        "-a",
    ] {
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        let client = Client::new(service, "default");
        let answer = tokio::spawn(async move { get::<ConfigMap>(&client, "mcp", name).await });
        assert!(
            pin!(&mut handle).next_request().await.is_none(),
            "{name:?} was asked for"
        );
        assert!(answer.await.unwrap().unwrap().is_none(), "{name:?}");
    }
}
