//! Scopes: requested, granted, left out by the user, needed by a call, and requested again.

use axum::body::Body;
use axum::http::Method;
use behalf_simulators::people::ANA;
use behalf_simulators::sign_in::{Browser, SignInError, Visit};
use rstest::rstest;
use serde_json::{Value, json};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::fixture::{Answer, Login, REDIRECT_URI, World, request};

/// Returns the scopes that a login grants when it requests `scope` and the user unticks the checkboxes in
/// `unticked`.
async fn granted(world: &World, scope: &str, unticked: &[&str]) -> Answer {
    let client_id = world.register(&[REDIRECT_URI]).await;
    login(world, &client_id, scope, unticked).await
}

async fn login(world: &World, client_id: &str, scope: &str, unticked: &[&str]) -> Answer {
    let path = world.authorize_path(client_id, &[("scope", scope)]);
    let url = world.base.join(&path).unwrap();
    let visit = unticked
        .iter()
        .fold(Visit::new(url, ANA.user_name), |visit, name| visit.untick(name));
    let signed_in = Browser::new().unwrap().sign_in(&visit).await.unwrap();
    let login = Login {
        client_id: client_id.to_owned(),
        redirect_uri: REDIRECT_URI.to_owned(),
        code: signed_in.code.unwrap(),
    };
    world.redeem(&login, &[]).await
}

#[tokio::test]
async fn a_login_without_mcp_run_has_no_checkbox_for_it() {
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let path = world.authorize_path(&client_id, &[("scope", "mcp:read")]);
    let visit = Visit::new(world.base.join(&path).unwrap(), ANA.user_name).untick("run");
    let error = Browser::new().unwrap().sign_in(&visit).await.err().unwrap();
    assert!(matches!(error, SignInError::NoCheckbox { .. }), "{error}");
}

#[rstest]
#[case::nothing("", "mcp:read mcp:run")]
#[case::nothing_of_ours("offline_access", "mcp:read mcp:run")]
#[case::read("mcp:read", "mcp:read")]
#[case::read_and_foreign_names("openid mcp:read offline_access", "mcp:read")]
#[case::both("mcp:read mcp:run", "mcp:read mcp:run")]
#[case::run_implies_read("mcp:run", "mcp:read mcp:run")]
#[tokio::test]
async fn a_login_grants_the_requested_scopes(#[case] asked: &str, #[case] expected: &str) {
    let world = World::start().await;
    let answer = granted(&world, asked, &[]).await;
    assert_eq!(answer.json()["scope"], expected);
}

#[tokio::test]
async fn the_user_may_leave_out_mcp_run_and_a_form_cannot_add_it() {
    let world = World::start().await;
    let narrowed = granted(&world, "mcp:read mcp:run", &["run"]).await;
    assert_eq!(narrowed.json()["scope"], "mcp:read");

    // Sends the form of a page without the checkbox, with it.
    let client_id = world.register(&[REDIRECT_URI]).await;
    let page = world
        .get(&world.authorize_path(&client_id, &[("scope", "mcp:read")]))
        .await;
    assert!(!page.body.contains("name=\"run\""));
    let (sealed, csrf) = page.form();
    let fields = [
        ("request", &*sealed),
        ("csrf", &csrf),
        ("decision", "allow"),
        ("run", "allow"),
    ];
    let approved = world
        .post_form("/consent", &fields, &[("cookie", &page.cookie())])
        .await;
    // Entra redirects the browser to the callback.
    let visit = Visit::new(approved.location(), ANA.user_name);
    let back = Browser::new().unwrap().sign_in(&visit).await.unwrap().redirect;
    let path = format!("{}?{}", back.path(), back.query().unwrap());
    let answer = world.get_with(&path, &[("cookie", &approved.cookie())]).await;
    let login = Login {
        client_id,
        redirect_uri: REDIRECT_URI.to_owned(),
        code: answer.parameter("code").unwrap(),
    };
    assert_eq!(world.redeem(&login, &[]).await.json()["scope"], "mcp:read");
}

async fn scopes_everywhere(world: &World) -> [Value; 3] {
    let resource = world.get("/.well-known/oauth-protected-resource").await.json();
    let server = world.get("/.well-known/oauth-authorization-server").await.json();
    let refused = world.post_json("/mcp", &json!({})).await;
    assert_eq!(refused.status, 401);
    [
        resource["scopes_supported"].clone(),
        server["scopes_supported"].clone(),
        scope_of_challenge(&refused).split(' ').collect(),
    ]
}

fn scope_of_challenge(answer: &Answer) -> &str {
    let challenge = answer.header("www-authenticate").unwrap();
    challenge.split("scope=\"").nth(1).unwrap().trim_end_matches('"')
}

#[tokio::test]
async fn metadata_and_the_first_challenge_name_the_scopes_of_the_tools() {
    let world = World::start().await;
    assert_eq!(
        scopes_everywhere(&world).await,
        [
            json!(["mcp:read", "mcp:run"]),
            json!(["mcp:read", "mcp:run", "offline_access"]),
            json!(["mcp:read", "mcp:run"]),
        ]
    );
}

#[tokio::test]
async fn a_read_only_server_neither_names_nor_grants_run() {
    let world = World::start_with(|config| config.access.writes = false).await;
    assert_eq!(
        scopes_everywhere(&world).await,
        [
            json!(["mcp:read"]),
            json!(["mcp:read", "offline_access"]),
            json!(["mcp:read"]),
        ]
    );
    for asked in ["", "mcp:run", "mcp:read mcp:run"] {
        assert_eq!(granted(&world, asked, &[]).await.json()["scope"], "mcp:read");
    }
}

/// Sends a tool call through the public router.
async fn call(world: &World, access_token: &str, tool: &str) -> Answer {
    let message =
        json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": {}}});
    send(world, access_token, message.to_string()).await
}

/// Sends a message through the public router, byte for byte.
async fn send(world: &World, access_token: &str, message: String) -> Answer {
    let authorization = format!("Bearer {access_token}");
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("authorization", &*authorization),
    ];
    let request = request(Method::POST, "/mcp", &headers).body(Body::from(message));
    world.send(request.unwrap()).await
}

/// Starts a server that answers every call.
async fn server() -> MockServer {
    let server = MockServer::start().await;
    let result = json!({"jsonrpc": "2.0", "id": 7, "result": {"content": []}});
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200).set_body_json(result))
        .mount(&server)
        .await;
    server
}

#[tokio::test]
async fn a_call_without_its_scope_is_challenged_once_and_the_next_login_may_run_it() {
    let server = server().await;
    let upstream = format!("{}/mcp", server.uri()).parse().unwrap();
    let world = World::start_with(|config| config.upstream = upstream).await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let reading = login(&world, &client_id, "mcp:read", &[]).await.tokens();
    assert_eq!(call(&world, &reading.access, "list").await.status, 200);
    let reached = server.received_requests().await.unwrap().len();

    for tool in ["trigger", "unknown", "", "List"] {
        let refused = call(&world, &reading.access, tool).await;
        assert_eq!(refused.status, 403, "{tool}");
        let challenge = refused.header("www-authenticate").unwrap();
        let metadata = format!(
            "resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"",
            world.issuer_url()
        );
        assert_eq!(
            challenge,
            format!("Bearer error=\"insufficient_scope\", {metadata}, scope=\"mcp:read mcp:run\"")
        );
        assert_eq!(refused.json()["id"], 7);
    }
    for message in [
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"trigger"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"tri\u0067ger"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"uri":"list"}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call"}"#,
    ] {
        let refused = send(&world, &reading.access, message.to_owned()).await;
        assert_eq!(refused.status, 403, "{message}");
    }
    assert_eq!(
        server.received_requests().await.unwrap().len(),
        reached,
        "a refused call reached the server"
    );
    let escaped = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"l\u0069st"}}"#;
    assert_eq!(
        send(&world, &reading.access, escaped.to_owned()).await.status,
        200
    );

    // SDKs start another login of the same client with the scopes of the challenge.
    let refused = call(&world, &reading.access, "trigger").await;
    let stepped_up = login(&world, &client_id, scope_of_challenge(&refused), &[]).await;
    assert_eq!(stepped_up.json()["scope"], "mcp:read mcp:run");
    let tokens = stepped_up.tokens();
    assert_eq!(call(&world, &tokens.access, "trigger").await.status, 200);
    assert_eq!(call(&world, &tokens.access, "list").await.status, 200);
    assert_eq!(
        call(&world, &reading.access, "trigger").await.status,
        403,
        "the narrow token stays narrow"
    );
}

#[tokio::test]
async fn a_refresh_narrows_the_access_token_and_never_widens_it() {
    let server = server().await;
    let upstream = format!("{}/mcp", server.uri()).parse().unwrap();
    let world = World::start_with(|config| config.upstream = upstream).await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let wide = login(&world, &client_id, "", &[]).await.tokens();

    let narrowed = world
        .refresh(&client_id, &wide.refresh, &[("scope", "mcp:read")])
        .await;
    assert_eq!(narrowed.json()["scope"], "mcp:read");
    let narrowed = narrowed.tokens();
    assert_eq!(call(&world, &narrowed.access, "trigger").await.status, 403);
    // RFC 6749, section 6: the new refresh token has the scope of the old one.
    let again = world.refresh(&client_id, &narrowed.refresh, &[]).await;
    assert_eq!(again.json()["scope"], "mcp:read mcp:run");
    assert_eq!(call(&world, &again.tokens().access, "trigger").await.status, 200);

    let reading = login(&world, &client_id, "mcp:read", &[]).await.tokens();
    for scope in ["mcp:run", "mcp:read mcp:run", "openid"] {
        world
            .refresh(&client_id, &reading.refresh, &[("scope", scope)])
            .await
            .assert_error(400, "invalid_scope");
    }
    let kept = world
        .refresh(&client_id, &reading.refresh, &[("scope", "offline_access")])
        .await;
    assert_eq!(kept.json()["scope"], "mcp:read");
}

#[tokio::test]
async fn a_refresh_right_after_a_scope_challenge_is_refused_once_so_that_the_client_signs_in() {
    let server = server().await;
    let upstream = format!("{}/mcp", server.uri()).parse().unwrap();
    let world = World::start_with(|config| config.upstream = upstream).await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let reading = login(&world, &client_id, "mcp:read", &[]).await.tokens();
    for _ in 0..2 {
        assert_eq!(call(&world, &reading.access, "trigger").await.status, 403);
    }
    let refused = world.refresh(&client_id, &reading.refresh, &[]).await;
    refused.assert_error(400, "invalid_grant");

    // The session stays, and its access token and refresh token are valid.
    assert_eq!(call(&world, &reading.access, "list").await.status, 200);
    let again = world.refresh(&client_id, &reading.refresh, &[]).await;
    assert_eq!(again.json()["scope"], "mcp:read");
    let again = again.tokens();
    assert_eq!(call(&world, &again.access, "list").await.status, 200);

    // A client that repeats the call can still refresh.
    assert_eq!(call(&world, &again.access, "trigger").await.status, 403);
    let later = world.refresh(&client_id, &again.refresh, &[]).await.tokens();
    world.advance(601);
    assert_eq!(call(&world, &later.access, "trigger").await.status, 403);
    world
        .refresh(&client_id, &later.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_refresh_long_after_a_scope_challenge_succeeds() {
    let server = server().await;
    let upstream = format!("{}/mcp", server.uri()).parse().unwrap();
    let world = World::start_with(|config| config.upstream = upstream).await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let reading = login(&world, &client_id, "mcp:read", &[]).await.tokens();
    assert_eq!(call(&world, &reading.access, "trigger").await.status, 403);
    world.advance(10);
    let refreshed = world.refresh(&client_id, &reading.refresh, &[]).await;
    assert_eq!(refreshed.json()["scope"], "mcp:read");
}
