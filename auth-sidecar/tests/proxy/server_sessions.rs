//! The sessions of a stateful MCP server: its `Mcp-Session-Id` belongs to one user, one session and one Pod.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use behalf_auth_sidecar::store::{MemoryLimits, MemoryStore};
use behalf_contract::ExchangePlace::Sidecar as AtSidecar;
use behalf_contract::Injection::None as Nothing;
use behalf_simulators::people::BEN;
use http_body_util::BodyExt as _;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fake_server::{FakeServer, json_answer, mcp, status};
use crate::world::{Login, Sidecar, World, body, call, list, post};

const ID: &str = "mcp-session-id";

/// Lets the server require sessions, as servers of the official SDKs do by default.
fn require_sessions(server: &FakeServer) {
    let sessions: Mutex<Vec<Option<String>>> = Mutex::default();
    server.answers(move |request| {
        let mut sessions = sessions.lock().unwrap();
        if request.method == Method::POST && request.json()["method"] == "initialize" {
            if request.header(ID).is_some() {
                return status(StatusCode::BAD_REQUEST);
            }
            let id = format!("server-session-{}", sessions.len());
            let mut answer = mcp(request);
            answer.headers_mut().insert(ID, id.parse().unwrap());
            sessions.push(Some(id));
            return answer;
        }
        let Some(id) = request.header(ID) else {
            return status(StatusCode::BAD_REQUEST);
        };
        let Some(session) = sessions.iter_mut().find(|known| known.as_deref() == Some(id)) else {
            return status(StatusCode::NOT_FOUND);
        };
        let mut answer = match request.method {
            Method::DELETE => {
                *session = None;
                status(StatusCode::OK)
            }
            Method::GET => Response::builder()
                .header("content-type", "text/event-stream")
                .body(Body::from(format!("data: {id}\n\n")))
                .unwrap(),
            _ => mcp(request),
        };
        // The official SDKs repeat the id in each answer.
        answer.headers_mut().insert(ID, id.parse().unwrap());
        answer
    });
}

fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}})
}

/// A request of this user within an MCP session.
fn within(method: Method, login: &Login, id: &str, message: &Value) -> Request<Body> {
    let (mut parts, ()) = post(login).header(ID, id).body(()).unwrap().into_parts();
    let body = if method == Method::POST {
        Body::from(message.to_string())
    } else {
        Body::empty()
    };
    parts.method = method;
    Request::from_parts(parts, body)
}

async fn call_within(sidecar: &Sidecar, login: &Login, id: &str) -> Response<Body> {
    sidecar.send(within(Method::POST, login, id, &call())).await
}

/// Begins an MCP session. Returns the id that the client gets.
async fn begin(sidecar: &Sidecar, login: &Login) -> String {
    let response = sidecar.post(login, &initialize()).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.headers()[ID].to_str().unwrap().to_owned()
}

async fn start() -> (World, Sidecar, Login) {
    let world = World::start().await;
    require_sessions(&world.server);
    let sidecar = world.sidecar(AtSidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    (world, sidecar, login)
}

/// Asserts that the client is told to initialize again.
async fn assert_unknown(response: Response<Body>) {
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(!response.headers().contains_key("www-authenticate"));
    let answer = body(response).await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(7), &json!(-32001))
    );
}

#[tokio::test]
async fn the_client_gets_the_servers_id_only_sealed_and_the_server_gets_its_own() {
    let (world, sidecar, login) = start().await;
    let id = begin(&sidecar, &login).await;
    assert!(id.starts_with("bht1.") && !id.contains("server-session"), "{id}");
    let response = call_within(&sidecar, &login, &id).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(
        !response.headers().contains_key(ID),
        "the client keeps the one that it has"
    );
    assert_eq!(world.server.received()[1].header(ID), Some("server-session-0"));
}

#[tokio::test]
async fn the_status_says_that_the_server_keeps_sessions_once_a_user_got_one() {
    let (_world, sidecar, login) = start().await;
    assert!(!sidecar.probe_results.handshake().is_stateful);
    begin(&sidecar, &login).await;
    assert!(sidecar.probe_results.handshake().is_stateful);
}

#[tokio::test]
async fn an_id_that_the_client_invents_or_learns_from_the_server_is_unknown() {
    let (world, sidecar, login) = start().await;
    begin(&sidecar, &login).await;
    for id in ["server-session-0", "bht1.AAAA", ""] {
        assert_unknown(call_within(&sidecar, &login, id).await).await;
    }
    let mut twice = within(Method::POST, &login, &begin(&sidecar, &login).await, &call());
    twice.headers_mut().append(ID, "x".parse().unwrap());
    assert_unknown(sidecar.send(twice).await).await;
    assert_eq!(
        world.server.received().len(),
        2,
        "no such call reaches the server"
    );
    assert_eq!(
        sidecar.count("behalf_mcp_refusals_total{reason=\"unknown_server_session\"}"),
        4
    );
}

#[rstest]
#[case::post(Method::POST)]
#[case::get(Method::GET)]
#[case::delete(Method::DELETE)]
#[tokio::test]
async fn an_id_of_another_user_or_of_another_session_of_the_user_is_unknown(#[case] method: Method) {
    let (world, sidecar, ana) = start().await;
    let id = begin(&sidecar, &ana).await;
    let again = sidecar.sign_in(&world).await;
    let ben = sidecar.sign_in_as(&world, BEN).await;
    for login in [&again, &ben] {
        let response = sidecar.send(within(method.clone(), login, &id, &call())).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
    assert_eq!(world.server.received().len(), 1);
    assert_eq!(call_within(&sidecar, &ana, &id).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn another_pod_answers_404_and_the_client_initializes_there_with_the_same_access_token() {
    let (world, _, _) = start().await;
    let store = Arc::new(MemoryStore::new(MemoryLimits::default(), world.clock.clone()));
    let pod = |store: &Arc<MemoryStore>| {
        world.sidecar_with_store(world.config(AtSidecar, Nothing), Arc::clone(store) as _)
    };
    let (first, second) = (pod(&store), pod(&store));
    let login = first.sign_in(&world).await;
    let id = begin(&first, &login).await;
    assert_unknown(call_within(&second, &login, &id).await).await;
    assert_eq!(
        world.server.received().len(),
        1,
        "it does not reach the other Pod's server"
    );
    let other = begin(&second, &login).await;
    assert_eq!(
        call_within(&second, &login, &other).await.status(),
        StatusCode::OK
    );
    assert_unknown(call_within(&first, &login, &other).await).await;
    assert_eq!(call_within(&first, &login, &id).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn delete_ends_the_session_and_the_servers_404_passes() {
    let (_world, sidecar, login) = start().await;
    let (kept, ended) = (begin(&sidecar, &login).await, begin(&sidecar, &login).await);
    let response = sidecar
        .send(within(Method::DELETE, &login, &ended, &call()))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        call_within(&sidecar, &login, &ended).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        call_within(&sidecar, &login, &kept).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn an_event_stream_belongs_to_the_session_and_resumes_within_it() {
    let (world, sidecar, login) = start().await;
    let id = begin(&sidecar, &login).await;
    let mut get = within(Method::GET, &login, &id, &call());
    get.headers_mut().insert("last-event-id", "9".parse().unwrap());
    let response = sidecar.send(get).await;
    let events = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(events, "data: server-session-0\n\n");
    assert_eq!(world.server.received()[1].header("last-event-id"), Some("9"));
}

#[tokio::test]
async fn initialize_begins_a_session_even_if_the_client_still_sends_an_old_id() {
    let (_world, sidecar, login) = start().await;
    for old in ["of-another-process".to_owned(), begin(&sidecar, &login).await] {
        let response = sidecar
            .send(within(Method::POST, &login, &old, &initialize()))
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        let new = response.headers()[ID].to_str().unwrap();
        assert_ne!(new, old);
        assert_eq!(call_within(&sidecar, &login, new).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn in_the_era_without_sessions_no_id_crosses() {
    let (world, sidecar, login) = start().await;
    world.server.answers(|request| {
        let mut answer = mcp(request);
        answer.headers_mut().insert(ID, "s1".parse().unwrap());
        answer
    });
    let mut request = within(Method::POST, &login, "left-over", &list());
    request
        .headers_mut()
        .insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    let response = sidecar.send(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key(ID));
    assert_eq!(world.server.only().header(ID), None);
}

#[rstest]
#[case::too_long(vec!["x".repeat(1025)])]
#[case::empty(vec![String::new()])]
#[case::two(vec!["a".to_owned(), "b".to_owned()])]
#[tokio::test]
async fn an_id_that_mcp_does_not_allow_is_a_fault_of_the_server(#[case] ids: Vec<String>) {
    let (world, sidecar, login) = start().await;
    world.server.answers(move |_| {
        let mut answer = json_answer(&json!({}));
        for id in &ids {
            answer.headers_mut().append(ID, id.parse().unwrap());
        }
        answer
    });
    let response = sidecar.post(&login, &initialize()).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(!response.headers().contains_key(ID));
}
