//! The lines of tool calls and of refused requests.

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use behalf_contract::Injection;
use behalf_simulators::entra::{MintRequest, Policy};
use behalf_simulators::people::{ANA, CLIENT_ID};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use url::Url;

use crate::fake_server::FakeServer;
use crate::fixture::{Answer, World, request};
use crate::lines::{MEASURED, listen, remove, take, take_one, text};
use crate::logins::label;

/// The trace of each request that these tests send to `/mcp`, and its context.
pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(crate) const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A sidecar in front of the server at this address.
async fn in_front_of(upstream: Url) -> World {
    World::start_with(|config| {
        config.upstream = upstream;
        config.token_exchange.injection = Injection::None;
        config.token_exchange.scope = None;
    })
    .await
}

/// A request to `/mcp`.
fn message(access_token: &str, message: &Value) -> Request<Body> {
    let authorization = format!("Bearer {access_token}");
    let headers = [
        ("authorization", &*authorization),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("traceparent", CONTEXT),
    ];
    let request = request(Method::POST, "/mcp", &headers);
    request.body(Body::from(message.to_string())).unwrap()
}

pub(crate) async fn post(world: &World, access_token: &str, body: &Value) -> Answer {
    world.send(message(access_token, body)).await
}

pub(crate) fn call(tool: &str) -> Value {
    let params = json!({"name": tool, "arguments": {"pipeline": "planted-argument"}});
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
}

pub(crate) fn list() -> Value {
    json!({"jsonrpc": "2.0", "id": 8, "method": "tools/list"})
}

pub(crate) async fn server() -> FakeServer {
    FakeServer::start().await
}

pub(crate) async fn world(server: &FakeServer) -> World {
    in_front_of(server.endpoint()).await
}

/// The line of a request of Ana, without its outcome.
async fn line_of(world: &World, client_id: &str, access_token: &str, action: &str) -> Value {
    let session = world
        .sessions
        .open(&behalf_entra::Secret::new(access_token))
        .await
        .unwrap();
    json!({
        "event.action": action,
        "user.id": ANA.object_id,
        "client.id": label(client_id),
        "session.id": session.id.to_string(),
        "trace.id": TRACE,
    })
}

#[tokio::test]
async fn a_tool_call_names_the_tool_and_the_outcome_and_its_duration() {
    listen();
    let server = server().await;
    let world = world(&server).await;
    let (login, tokens) = world.session(ANA).await;
    let mut expected = line_of(&world, &login.client_id, &tokens.access, "tool_call").await;
    expected["mcp.tool"] = "run".into();

    assert_eq!(post(&world, &tokens.access, &call("run")).await.status, 200);
    let mut line = take_one("tool_call");
    assert_eq!(remove(&mut line, "event.duration_ms"), MEASURED);
    expected["event.outcome"] = "success".into();
    expected["http.response.status_code"] = 200.into();
    assert_eq!(line, expected);

    server.answers(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    post(&world, &tokens.access, &call("run")).await;
    let mut line = take_one("tool_call");
    remove(&mut line, "event.duration_ms");
    expected["event.outcome"] = "failure".into();
    expected["event.reason"] = "server_error".into();
    expected["http.response.status_code"] = 500.into();
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_refused_tool_call_has_the_reason_of_the_metric() {
    listen();
    let server = server().await;
    let world = world(&server).await;
    let (login, tokens) = world.session(ANA).await;
    let more = [("scope", "mcp:read")];
    let narrow = world
        .refresh(&login.client_id, &tokens.refresh, &more)
        .await
        .tokens();
    let mut expected = line_of(&world, &login.client_id, &narrow.access, "tool_call").await;
    expected["mcp.tool"] = "run".into();
    expected["event.outcome"] = "failure".into();
    expected["event.reason"] = "insufficient_scope".into();
    expected["http.response.status_code"] = 403.into();
    assert_eq!(post(&world, &narrow.access, &call("run")).await.status, 403);
    let mut line = take_one("tool_call");
    remove(&mut line, "event.duration_ms");
    assert_eq!(line, expected);
}

/// An agent presents Entra's token of the user, from its own application.
#[tokio::test]
async fn a_call_with_a_token_of_entra_names_its_user_and_its_application() {
    listen();
    let server = server().await;
    let world = World::start_with(|config| {
        config.upstream = server.endpoint();
        config.clients.entra_token_clients = vec![CLIENT_ID.to_owned()];
    })
    .await;
    let control = world.entra.control();
    let mint = |number: &str| MintRequest::for_user(ANA.user_name).claim("uti", number);
    let mut expected = json!({
        "event.action": "tool_call",
        "user.id": ANA.object_id,
        "client.id": CLIENT_ID,
        "trace.id": TRACE,
        "mcp.tool": "run",
    });
    let line = || {
        let mut line = take_one("tool_call");
        assert_eq!(remove(&mut line, "event.duration_ms"), MEASURED);
        // A part of the token's hash.
        assert_eq!(remove(&mut line, "session.id").as_str().unwrap().len(), 22);
        line
    };

    let good = control.mint(&mint("first")).await.unwrap();
    assert_eq!(post(&world, &good, &call("run")).await.status, 200);
    expected["event.outcome"] = "success".into();
    expected["http.response.status_code"] = 200.into();
    assert_eq!(line(), expected);

    let policies = [Policy::multi_factor()];
    control.put_policies(ANA.user_name, &policies).await.unwrap();
    let challenged = control.mint(&mint("second")).await.unwrap();
    assert_eq!(post(&world, &challenged, &call("run")).await.status, 401);
    expected["event.outcome"] = "failure".into();
    expected["event.reason"] = "insufficient_claims".into();
    expected["http.response.status_code"] = 401.into();
    assert_eq!(line(), expected);
    assert!(!text().contains(&good) && !text().contains(&challenged));
}

#[tokio::test]
async fn another_refused_request_of_a_user_has_its_own_action() {
    listen();
    let server = server().await;
    let world = world(&server).await;
    let (login, tokens) = world.session(ANA).await;
    let mut expected = line_of(&world, &login.client_id, &tokens.access, "request_refusal").await;
    expected["event.outcome"] = "failure".into();
    expected["event.reason"] = "body".into();
    expected["http.response.status_code"] = 400.into();
    assert_eq!(post(&world, &tokens.access, &json!([])).await.status, 400);
    let mut line = take_one("request_refusal");
    remove(&mut line, "event.duration_ms");
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_call_whose_client_disconnects_is_not_forgotten() {
    listen();
    // A server that reads and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/mcp", silent.local_addr().unwrap());
    let world = in_front_of(endpoint.parse().unwrap()).await;
    let (login, tokens) = world.session(ANA).await;
    let mut expected = line_of(&world, &login.client_id, &tokens.access, "tool_call").await;
    expected["mcp.tool"] = "run".into();
    expected["event.outcome"] = "unknown".into();
    expected["event.reason"] = "client_disconnected".into();
    let received = async {
        let (mut connection, _) = silent.accept().await.unwrap();
        assert!(connection.read(&mut [0; 4096]).await.unwrap() > 0);
        connection
    };
    // The client disconnects once the server has received the call.
    let _connection = tokio::select! {
        answer = world.respond(message(&tokens.access, &call("run"))) => panic!("answered: {answer:?}"),
        connection = received => connection,
    };
    let mut line = take_one("tool_call");
    remove(&mut line, "event.duration_ms");
    assert_eq!(line, expected);
}

#[tokio::test]
async fn requests_that_are_no_tool_calls_and_requests_without_a_session_have_no_line() {
    listen();
    let server = server().await;
    let world = world(&server).await;
    let (_, tokens) = world.session(ANA).await;
    for action in ["client_registration", "consent", "login", "session_start"] {
        take(action);
    }
    assert_eq!(post(&world, &tokens.access, &list()).await.status, 200);
    for _ in 0..100 {
        assert_eq!(post(&world, "made-up", &call("run")).await.status, 401);
    }
    assert_eq!(text(), "");
}
