//! The trace in the lines that requests to the OAuth endpoints and to `/mcp` cause.

use axum::body::Body;
use axum::http::Method;
use behalf_contract::TracingConfig;
use behalf_entra::Clock as _;
use behalf_simulators::people::ANA;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::calls::{CONTEXT, TRACE, list, post, server, world};
use crate::fixture::{REDIRECT_URI, VERIFIER, World, request};
use crate::lines::{listen, take, take_one};

#[tokio::test]
async fn the_lines_of_oauth_requests_have_the_trace_that_the_client_names() {
    listen();
    let world = World::start().await;
    let trace = ("traceparent", CONTEXT);

    let body = json!({"client_name": "A test client", "redirect_uris": [REDIRECT_URI]});
    let registration = request(Method::POST, "/register", &[trace])
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    let registered = world.send(registration.unwrap()).await.json();
    let client_id = registered["client_id"].as_str().unwrap();
    assert_eq!(take_one("client_registration")["trace.id"], TRACE);

    let page = world.get(&world.authorize_path(client_id, &[])).await;
    let (sealed, csrf) = page.form();
    let fields = [("request", &*sealed), ("csrf", &csrf), ("decision", "allow")];
    let cookie = page.cookie();
    let headers = [trace, ("cookie", &*cookie)];
    world.post_form("/consent", &fields, &headers).await;
    assert_eq!(take_one("consent")["trace.id"], TRACE);

    let login = world.login_of(client_id, ANA).await;
    let code = [
        ("grant_type", "authorization_code"),
        ("client_id", client_id),
        ("code", &login.code),
        ("code_verifier", VERIFIER),
    ];
    let tokens = world.post_form("/token", &code, &[trace]).await.tokens();
    assert_eq!(take_one("session_start")["trace.id"], TRACE);

    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", client_id),
        ("refresh_token", &tokens.refresh),
    ];
    world.post_form("/token", &refresh, &[trace]).await.tokens();
    assert_eq!(take_one("token_refresh")["trace.id"], TRACE);

    let revoke = [("client_id", client_id), ("token", &tokens.refresh)];
    world.post_form("/revoke", &revoke, &[trace]).await;
    assert_eq!(take_one("session_end")["trace.id"], TRACE);
}

#[tokio::test]
async fn with_a_collector_a_login_that_no_client_traces_has_a_trace_of_its_own() {
    listen();
    let world = World::start_with(|config| {
        config.tracing = Some(TracingConfig {
            endpoint: "http://127.0.0.1:1".parse().unwrap(),
            object: config.object.clone(),
        });
    })
    .await;
    world.login(ANA).await;
    let [consent, login] = ["consent", "login"].map(|action| take_one(action)["trace.id"].clone());
    let digits = |id: &Value| id.as_str().map(str::len);
    assert_eq!((digits(&consent), digits(&login)), (Some(32), Some(32)));
    assert_ne!(consent, login, "two requests");
}

#[tokio::test]
async fn a_call_that_meets_a_revoked_session_gives_its_trace_to_the_line_of_the_end() {
    listen();
    let server = server().await;
    let world = world(&server).await;
    let (_, tokens) = world.session(ANA).await;
    // The background task cannot remove the session, so that the call finds it.
    world.store.set_broken(true);
    let before = world.clock.now() + SignedDuration::from_secs(1);
    world.write_revocations(&json!({"users": [{"id": ANA.object_id, "before": before}]}));
    while world.store.refusals() == 0 {
        tokio::task::yield_now().await;
    }
    world.store.set_broken(false);
    assert_eq!(post(&world, &tokens.access, &list()).await.status, 401);
    let lines = take("session_end");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["trace.id"], TRACE);
}
