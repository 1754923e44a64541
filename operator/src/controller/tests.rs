//! Tests the controller: writes of the status, error messages and whole passes.

mod cluster;
mod key_rotation;
mod keyring_events;
mod killed;
mod metrics;
mod passes;
mod public_url;
mod revocations;
mod rights;
mod rollouts;
mod traces;
mod undecodable;

use std::pin::pin;
use std::sync::Arc;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use serde_json::json;
use tower_test::mock;

use super::reconcile::reconcile;
use super::status::StatusError;
use super::*;
use crate::api::v1alpha1::Guarded;
use crate::testing::{QUICKSTART, server, time};

fn status_of(server: &McpServer) -> McpServerStatus {
    status::with_failed_step(server, "failed", time(0))
}

#[tokio::test]
async fn a_status_that_is_so_already_is_not_written() {
    let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "default");
    let mut server = server(QUICKSTART);
    server.status = Some(status_of(&server));
    server.status.as_mut().unwrap().conditions.reverse();
    let same = status_of(&server);
    assert_eq!(status::write(&client, &server, &same).await.unwrap(), None);
    drop(client);
    assert!(
        pin!(&mut handle).next_request().await.is_none(),
        "a request was made"
    );
}

#[tokio::test]
async fn a_stale_view_writes_nothing_and_says_so() {
    let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "default");
    let api_server = tokio::spawn(async move {
        let (request, send) = pin!(&mut handle).next_request().await.unwrap();
        let line = format!("{} {}", request.method(), request.uri());
        let body = request.into_body().collect_bytes().await.unwrap();
        let conflict = json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict", "message": "old"});
        let response = Response::builder()
            .status(409)
            .body(Body::from(conflict.to_string().into_bytes()));
        send.send_response(response.unwrap());
        (line, serde_json::from_slice::<serde_json::Value>(&body).unwrap())
    });
    let server = server(QUICKSTART);
    let error = status::write(&client, &server, &status_of(&server))
        .await
        .unwrap_err();
    assert!(matches!(error, StatusError::Stale), "{error}");
    let (line, body) = api_server.await.unwrap();
    assert!(
        line.starts_with("PATCH /apis/behalf.dev/v1alpha1/namespaces/mcp/mcpservers/azure-devops/status?"),
        "{line}"
    );
    assert_eq!(body["metadata"]["resourceVersion"], "100");
}
