//! Tests how children are applied, repaired and deleted. This file contains the scripted API server.

mod deletes;
mod immutable;
mod refusals;
mod repair;
mod revocations;
mod writes;

use std::pin::pin;
use std::sync::Arc;

use http::{Request, Response};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::client::Body;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tower_test::mock;

use super::server_side_apply::Writer;
use super::stored_forms::StoredForms;
use super::*;
use crate::controller::children::{ChildKind, Existing};
use crate::controller::names;
use crate::controller::rollouts::RolloutDecision;
use crate::testing::{QUICKSTART, children, quickstart_with, server};

type Handle = mock::Handle<Request<Body>, Response<Body>>;

fn client() -> (Client, Handle) {
    let (service, handle) = mock::pair();
    (Client::new(service, "default"), handle)
}

/// Answers requests in this order and returns what was asked.
async fn script(mut handle: Handle, answers: Vec<(u16, Value)>) -> Vec<(String, Value)> {
    let mut asked = Vec::new();
    for (status, answer) in answers {
        let (request, send) = pin!(&mut handle).next_request().await.expect("one more request");
        let line = format!("{} {}", request.method(), request.uri());
        let body = request.into_body().collect_bytes().await.unwrap();
        asked.push((line, serde_json::from_slice(&body).unwrap_or(Value::Null)));
        let response = Response::builder()
            .status(status)
            .body(Body::from(serde_json::to_vec(&answer).unwrap()));
        send.send_response(response.unwrap());
    }
    let more = pin!(&mut handle).next_request().await;
    assert!(
        more.is_none(),
        "one request too many: {:?}",
        more.map(|(request, _)| request.uri().clone())
    );
    asked
}

fn failure(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}),
    )
}

fn exists() -> (u16, Value) {
    failure(409, "AlreadyExists", "already exists")
}

/// Returns a writer on `client` without remembered forms.
fn writer(client: &Client) -> Writer<'_> {
    Writer {
        client,
        stored_forms: Box::leak(Box::new(StoredForms::default())),
        decision: RolloutDecision::Now,
    }
}

/// Returns the Service after another writer changed it.
fn edited() -> Service {
    let mut live = stored(service());
    live["spec"]["ports"][0]["port"] = json!(81);
    serde_json::from_value(live).unwrap()
}

/// Writes `child` over `live` while the API server gives these answers. Returns the result and the requests.
async fn put<K: ChildKind + Send + Sync + 'static>(
    child: K,
    live: Option<&K>,
    answers: Vec<(u16, Value)>,
) -> (Result<K, ApplyError>, Vec<(String, Value)>) {
    let (client, handle) = client();
    let asked = tokio::spawn(script(handle, answers));
    let result = writer(&client).put(child, live).await;
    drop(client);
    (result, asked.await.unwrap())
}

fn service() -> Service {
    children(&server(QUICKSTART)).service
}

/// As the API server would return it: stamped, with defaults.
fn stored<K: ChildKind>(mut child: K) -> Value {
    unchanged::stamp(&mut child).unwrap();
    let mut value = serde_json::to_value(child).unwrap();
    value["metadata"]["uid"] = json!("5d6f7f6e-0000-4000-8000-000000000009");
    value["metadata"]["resourceVersion"] = json!("7");
    value
}
