//! Whole passes over objects with the same `publicUrl`. The caches never change here, as they do not for the moment
//! in which two passes run at once.

use kube::runtime::events::{Recorder, Reporter};
use serde_json::Value;

use super::*;
use crate::controller::dereference::{Issuer, Sources, StatusReader};
use crate::controller::sight::Sight;
use crate::controller::stores::Stores;
use crate::metrics::Metrics;
use crate::testing::defaults;

/// An API server that holds nothing and takes everything. Counts the changes of each address.
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
            changes.push((path, body.clone()));
            // A whole object comes back, whatever part of it was written.
            (
                200,
                if is_status {
                    json!(server(QUICKSTART))
                } else {
                    body
                },
            )
        };
        let response = Response::builder()
            .status(code)
            .body(Body::from(serde_json::to_vec(&answer).unwrap()));
        send.send_response(response.unwrap());
    }
    changes
}

/// One pass over each object in turn, and what they changed.
async fn passes(servers: &[McpServer]) -> (Vec<Action>, Vec<(String, Value)>) {
    // Another test of this process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (service, handle) = mock::pair();
    let api_server = tokio::spawn(api_server(handle));
    let client = Client::new(service, "default");
    let context = Context::new(
        Sources {
            client: client.clone(),
            stores: Stores::of(servers),
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
    let mut actions = Vec::new();
    for server in servers {
        let guard = Arc::new(DeserializeGuard(Ok(server.clone())));
        actions.push(reconcile(guard, context.clone()).await.unwrap());
    }
    drop(context);
    (actions, api_server.await.unwrap())
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

/// The `Accepted` that was written for each object, with its reason.
fn accepted(changes: &[(String, Value)]) -> Vec<(&str, &str)> {
    changes
        .iter()
        .filter(|(path, _)| path.ends_with("/status"))
        .map(|(_, body)| {
            let conditions = body["status"]["conditions"].as_array().unwrap();
            let accepted = conditions
                .iter()
                .find(|condition| condition["type"] == "Accepted");
            let reason = accepted.unwrap()["reason"].as_str().unwrap();
            (body["metadata"]["name"].as_str().unwrap(), reason)
        })
        .collect()
}

#[tokio::test]
async fn of_two_objects_that_become_valid_at_once_one_is_accepted() {
    // Both were refused before, so neither waits for the other.
    let servers = ["one", "two"].map(|name| {
        let mut server = object(name, 0);
        server.status = Some(status_of(&server));
        server
    });
    let (_, changes) = passes(&servers).await;
    assert_eq!(
        accepted(&changes),
        [("one", "Accepted"), ("two", "PublicUrlTaken")]
    );
}

#[tokio::test]
async fn of_two_objects_created_at_once_the_older_is_accepted_though_the_younger_came_first() {
    let servers = [object("younger", 1), object("older", 0)];
    let (actions, changes) = passes(&servers).await;
    assert_eq!(accepted(&changes), [("older", "Accepted")]);
    assert!(
        !changes.iter().any(|(path, _)| path.contains("younger")),
        "the object whose turn has not come was touched"
    );
    assert_eq!(actions[0], Action::requeue(SOON));
}

#[tokio::test]
async fn an_older_object_that_was_refused_stands_in_nobodys_way() {
    // The caches do not know yet that `one` was refused.
    let mut one = object("one", 0);
    one.spec.replicas = Some(0);
    let (_, changes) = passes(&[one, object("two", 1)]).await;
    assert_eq!(accepted(&changes), [("one", "InvalidSpec")], "two waits for one");
    let mut one = object("one", 0);
    one.spec.replicas = Some(0);
    one.status = Some(status_of(&one));
    let (_, changes) = passes(&[one, object("two", 1)]).await;
    assert_eq!(accepted(&changes), [("one", "InvalidSpec"), ("two", "Accepted")]);
}
