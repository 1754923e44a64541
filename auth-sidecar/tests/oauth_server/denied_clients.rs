//! Clients that the administrator denies.

use axum::http::StatusCode;
use behalf_auth_sidecar::admin;
use behalf_contract::is_registered_client_id;
use behalf_simulators::entra::RequestKind;
use behalf_simulators::people::ANA;
use behalf_simulators::sign_in::{Browser, Visit};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use crate::document_host::DocumentHost;
use crate::fixture::{Login, REDIRECT_URI, World, encode, request};

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
async fn a_token_of_a_denied_client_is_not_active() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let introspect = async |world: &World| {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let body = encode(&[("token", &tokens.access)]);
        let request = request(axum::http::Method::POST, "/introspect", &form);
        let request = request.body(axum::body::Body::from(body)).unwrap();
        let answer = admin::router(world.replicas[0].clone())
            .oneshot(request)
            .await
            .unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()["active"].clone()
    };
    assert_eq!(introspect(&world).await, true);
    let world = world.denying(&[&login.client_id]);
    assert_eq!(introspect(&world).await, false);
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
async fn a_registered_client_is_denied_by_the_label_that_the_audit_log_shows() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let (_, other) = world.session(ANA).await;
    // As docs/audit.md says: the first 16 digits of the id's SHA-256.
    let digest = Sha256::digest(&login.client_id);
    let first = digest.first_chunk().copied().unwrap();
    let label = format!("registered:{:016x}", u64::from_be_bytes(first));
    let world = world.denying(&[&label]);
    let page = world.get(&world.authorize_path(&login.client_id, &[])).await;
    page.assert_page(403);
    assert_eq!(call(&world, &tokens.access).await, 401);
    assert_ne!(call(&world, &other.access).await, 401);
    let world = world.denying(&[]);
    assert_eq!(
        call(&world, &tokens.access).await,
        401,
        "the call ended the session"
    );
}

#[tokio::test]
async fn a_denied_host_denies_its_documents_and_their_sessions() {
    let host = DocumentHost::start().await;
    host.publish_client(DOCUMENT, &[REDIRECT_URI]);
    let world = host.world().await;
    let login: Login = world.login_of(DOCUMENT, ANA).await;
    let tokens = world.redeem(&login, &[]).await.tokens();
    let world = world.denying(&["client.example"]);

    let requests = host.requests();
    let page = world.get(&world.authorize_path(DOCUMENT, &[])).await;
    page.assert_page(403);
    assert_eq!(host.requests(), requests);
    assert_eq!(call(&world, &tokens.access).await, 401);
}

#[tokio::test]
async fn a_denied_host_denies_the_clients_that_registered_a_redirect_uri_there() {
    let world = World::start().await;
    let cursor = "https://www.cursor.com/agents/mcp/oauth/callback";
    let denied = world.register(&[cursor, REDIRECT_URI]).await;
    let allowed = world.register(&[REDIRECT_URI]).await;
    let mut sessions = Vec::new();
    for client_id in [&denied, &denied, &allowed] {
        let login = world.login_of(client_id, ANA).await;
        sessions.push(world.redeem(&login, &[]).await.tokens());
    }
    let waiting = world.login_of(&denied, ANA).await;
    // The host includes its subdomains.
    let world = world.denying(&["cursor.com"]);

    let answer = world
        .post_json("/register", &json!({"redirect_uris": [cursor]}))
        .await;
    answer.assert_error(400, "invalid_redirect_uri");
    // Its redirect URI on loopback does not help the client.
    let page = world.get(&world.authorize_path(&denied, &[])).await;
    page.assert_page(403);
    let redemption = world.redeem(&waiting, &[]).await;
    redemption.assert_error(401, "invalid_client");
    assert_eq!(call(&world, &sessions[0].access).await, 401);
    let refresh = world.refresh(&denied, &sessions[1].refresh, &[]).await;
    refresh.assert_error(401, "invalid_client");
    assert_ne!(call(&world, &sessions[2].access).await, 401);

    // The call and the refresh ended the sessions.
    let world = world.denying(&[]);
    assert_eq!(call(&world, &sessions[0].access).await, 401);
    assert_eq!(call(&world, &sessions[1].access).await, 401);
}

#[tokio::test]
async fn a_code_of_a_document_is_not_redeemed_after_the_denial_of_its_redirect_host() {
    let host = DocumentHost::start().await;
    let claude = "https://claude.ai/api/mcp/auth_callback";
    host.publish_client(DOCUMENT, &[claude]);
    let world = host.world().await;
    let path = world.authorize_path(DOCUMENT, &[("redirect_uri", claude)]);
    let visit = Visit::new(world.base.join(&path).unwrap(), ANA.user_name);
    let signed_in = Browser::new().unwrap().sign_in(&visit).await.unwrap();
    let login = Login {
        client_id: DOCUMENT.to_owned(),
        redirect_uri: claude.to_owned(),
        code: signed_in.code.unwrap(),
    };
    let world = world.denying(&["claude.ai"]);
    // The client may leave the redirect URI out.
    let variants: [&[(&str, &str)]; 2] = [&[], &[("redirect_uri", "")]];
    for changes in variants {
        let answer = world.redeem(&login, changes).await;
        answer.assert_error(401, "invalid_client");
    }
    let world = world.denying(&[]);
    world.redeem(&login, &[]).await.tokens();
}

#[tokio::test]
async fn a_login_that_began_before_the_denial_gets_no_code() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let page = world.get(&world.authorize_path(&client_id, &[])).await;
    let at_entra = world.approve(&page).await;
    let state = at_entra.parameter("state").unwrap();
    let callback = format!("/callback?state={state}&code=x");
    let cookie = at_entra.cookie();
    let world = world.denying(&[&client_id]);

    let form = world.approve(&page).await;
    assert_eq!(
        (form.status, form.header("location")),
        (StatusCode::FORBIDDEN, None)
    );
    world
        .get_with(&callback, &[("cookie", &cookie)])
        .await
        .assert_page(403);
    let control = world.entra.control();
    let redemptions = control.requests_of(RequestKind::AuthorizationCode).await;
    assert!(redemptions.unwrap().is_empty(), "Entra was asked for tokens");
    // Without the entry the same callback goes on.
    let world = world.denying(&[]);
    let answer = world.get_with(&callback, &[("cookie", &cookie)]).await;
    assert_eq!(answer.status, 303);
}

#[tokio::test]
async fn the_consent_page_shows_the_id_that_an_administrator_denies() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    assert!(is_registered_client_id(&client_id), "{client_id}");
    let page = world.get(&world.authorize_path(&client_id, &[])).await;
    assert!(
        page.body
            .contains(&format!("Client id: <code>{client_id}</code>")),
        "{}",
        page.body
    );
}
