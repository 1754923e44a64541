//! Clients that the administrator denies.

use axum::http::StatusCode;
use behalf_simulators::people::ANA;
use serde_json::json;

use crate::document_host::DocumentHost;
use crate::fixture::{Login, REDIRECT_URI, World, request};

const DOCUMENT: &str = "https://client.example/oauth/client.json";

/// Calls the MCP endpoint with this access token, and returns the status.
async fn call(world: &World, access_token: &str) -> StatusCode {
    let authorization = format!("Bearer {access_token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    let request = request(axum::http::Method::POST, "/mcp", &headers);
    world
        .send(request.body(axum::body::Body::from(body)).unwrap())
        .await
        .status
}

#[tokio::test]
async fn a_denied_client_is_refused_at_login_and_token_and_its_sessions_end() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let waiting = world.login_of(&login.client_id, ANA).await;
    let (_, other) = world.session(ANA).await;
    let world = world.denying(&[&login.client_id]);

    let page = world.get(&world.authorize_path(&login.client_id, &[])).await;
    page.assert_page(403);
    assert!(
        page.body.contains("does not allow the application"),
        "{}",
        page.body
    );
    world
        .redeem(&waiting, &[])
        .await
        .assert_error(401, "invalid_client");
    let denied = world.refresh(&login.client_id, &tokens.refresh, &[]).await;
    denied.assert_error(401, "invalid_client");

    // The server behind the sidecar does not run, so that a call that passes gets another answer than 401.
    assert_eq!(call(&world, &tokens.access).await, 401);
    assert_ne!(call(&world, &other.access).await, 401);
    // Without the entry the session is still over.
    let world = world.denying(&[]);
    assert_eq!(call(&world, &tokens.access).await, 401);
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_call_of_a_denied_client_ends_its_session() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let world = world.denying(&[&login.client_id]);
    assert_eq!(call(&world, &tokens.access).await, 401);
    let world = world.denying(&[]);
    assert_eq!(call(&world, &tokens.access).await, 401);
}

#[tokio::test]
async fn a_denied_host_denies_its_documents_and_redirect_uris() {
    let host = DocumentHost::start().await;
    host.publish_client(DOCUMENT, &[REDIRECT_URI]);
    let world = host.world().await;
    let login: Login = world.login_of(DOCUMENT, ANA).await;
    let tokens = world.redeem(&login, &[]).await.tokens();
    let claude = "https://claude.ai/api/mcp/auth_callback";
    let registered = world.register(&[claude, REDIRECT_URI]).await;
    let world = world.denying(&["client.example", "claude.ai"]);

    let requests = host.requests();
    world
        .get(&world.authorize_path(DOCUMENT, &[]))
        .await
        .assert_page(403);
    assert_eq!(host.requests(), requests);
    assert_eq!(call(&world, &tokens.access).await, 401);

    let body = json!({"redirect_uris": [claude]});
    let answer = world.post_json("/register", &body).await;
    answer.assert_error(400, "invalid_redirect_uri");
    let to_claude = world.authorize_path(&registered, &[("redirect_uri", claude)]);
    world.get(&to_claude).await.assert_page(400);
    assert_eq!(
        world.get(&world.authorize_path(&registered, &[])).await.status,
        200
    );
}
