//! Whole passes over objects with the same `publicUrl`, against an API server that holds nothing.

use kube::runtime::events::{Recorder, Reporter};
use serde_json::Value;

use super::*;
use crate::controller::children::{Built, Children};
use crate::controller::dereference::{Issuer, Sources, StatusReader};
use crate::controller::sight::Sight;
use crate::controller::stores::Stores;
use crate::metrics::Metrics;
use crate::testing::defaults;

/// An API server that holds nothing and takes everything. Returns the changes that it took.
async fn api_server(mut handle: mock::Handle<Request<Body>, Response<Body>>) -> Vec<(String, Value)> {
    let mut changes = Vec::new();
    while let Some((request, send)) = pin!(&mut handle).next_request().await {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let body = request.into_body().collect_bytes().await.unwrap();
        let (code, answer) = if path == "/.well-known/openid-configuration" {
            (200, json!({"issuer": "https://issuer.contoso.example"}))
        } else if method == http::Method::GET {
            let absent = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"});
            (404, absent)
        } else {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let is_status = path.ends_with("/status");
            if !path.ends_with("/events") {
                changes.push((path, body.clone()));
            }
            // A whole object comes back, whatever part of it was written.
            let answer = if is_status {
                json!(server(QUICKSTART))
            } else {
                body
            };
            (200, answer)
        };
        let response = Response::builder()
            .status(code)
            .body(Body::from(serde_json::to_vec(&answer).unwrap()));
        send.send_response(response.unwrap());
    }
    changes
}

/// One pass over each object in turn while the caches hold `servers` and `deployments`, and what was changed.
async fn passes(
    order: &[McpServer],
    servers: &[McpServer],
    children: Vec<Children<Built>>,
) -> Vec<(String, Value)> {
    // Another test of this process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (service, handle) = mock::pair();
    let api_server = tokio::spawn(api_server(handle));
    let client = Client::new(service, "default");
    let servers: Vec<Guarded> = servers
        .iter()
        .map(|server| DeserializeGuard(Ok(server.clone())))
        .collect();
    let context = Context::new(
        Sources {
            client: client.clone(),
            stores: Stores::of(&servers, children),
            status: StatusReader::new().unwrap(),
            sight: Arc::new(Sight::default()),
            issuer: Arc::new(Issuer::default()),
        },
        defaults(),
        Recorder::new(client, Reporter::from("behalf")),
        Arc::new(Metrics::default()),
        || time(60),
    );
    let context = Arc::new(context);
    for server in order {
        let guard = Arc::new(DeserializeGuard(Ok(server.clone())));
        reconcile(guard, context.clone()).await.unwrap();
    }
    drop(context);
    api_server.await.unwrap()
}

fn object(name: &str, seconds: i64) -> McpServer {
    let mut server = server(QUICKSTART);
    server.metadata.name = Some(name.to_owned());
    server.metadata.uid = Some(format!("uid-of-{name}"));
    server.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time(
        seconds,
    )));
    server
}

/// What was last written of an object's status.
fn status<'a>(changes: &'a [(String, Value)], name: &str) -> &'a Value {
    let end = format!("/{name}/status");
    let (_, body) = changes.iter().rfind(|(path, _)| path.ends_with(&end)).unwrap();
    &body["status"]
}

/// The reason of `Accepted` that was written for an object.
fn accepted<'a>(changes: &'a [(String, Value)], name: &str) -> &'a str {
    let conditions = status(changes, name)["conditions"].as_array().unwrap();
    let accepted = conditions
        .iter()
        .find(|condition| condition["type"] == "Accepted");
    accepted.unwrap()["reason"].as_str().unwrap()
}

#[tokio::test]
async fn the_older_object_is_accepted_and_the_younger_is_not_in_whatever_order_they_are_reconciled() {
    let servers = [object("older", 0), object("younger", 1)];
    let mut order = servers.clone();
    for _ in 0..2 {
        let changes = passes(&order, &servers, Vec::new()).await;
        assert_eq!(accepted(&changes, "older"), "Accepted");
        assert_eq!(accepted(&changes, "younger"), "PublicUrlTaken");
        let of_the_younger = changes.iter().filter(|(path, _)| path.contains("younger"));
        assert_eq!(of_the_younger.count(), 1, "a refused object gets no children");
        order.reverse();
    }
}

#[tokio::test]
async fn an_object_that_loses_its_address_to_an_older_one_runs_on_and_tells_what_runs() {
    let servers = [object("older", 0), object("younger", 1)];
    let children = vec![crate::testing::children(&object("younger", 1))];
    let changes = passes(&[object("younger", 1)], &servers, children).await;
    assert_eq!(accepted(&changes, "younger"), "PublicUrlTaken");
    let [(path, _)] = &changes[..] else {
        panic!("a child was changed: {changes:?}")
    };
    assert!(path.ends_with("/younger/status"), "{path}");
    let federation = &status(&changes, "younger")["federation"];
    assert_eq!(federation["redirectUri"], "https://mcp.contoso.example/callback");
    assert_eq!(federation["subject"], "system:serviceaccount:mcp:younger");
    assert_eq!(federation["command"], Value::Null);
}
