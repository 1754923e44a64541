//! The tokens and headers that the server receives.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use behalf_contract::ExchangePlace::{self, Server, Sidecar};
use behalf_contract::Injection::{self, Argument, Header, None as Nothing};
use behalf_simulators::people::{AZURE_DEVOPS_APPLICATION_ID as DOWNSTREAM, CLIENT_ID as USER};
use rstest::rstest;
use serde_json::json;

use crate::world::{World, audience, body, call, list, post};

/// Regression: `gateway sample (no user token)`, whose server never got the user's token.
#[rstest]
#[case(Sidecar, Header, Some(DOWNSTREAM), None)]
#[case(Sidecar, Argument, None, Some(DOWNSTREAM))]
#[case(Sidecar, Nothing, None, None)]
#[case(Server, Header, Some(USER), None)]
#[case(Server, Argument, Some(USER), Some(USER))]
#[case(Server, Nothing, None, None)]
#[tokio::test]
async fn a_tool_call_carries_the_tokens_of_its_place_and_injection(
    #[case] at: ExchangePlace,
    #[case] injection: Injection,
    #[case] header: Option<&str>,
    #[case] argument: Option<&str>,
) {
    let world = World::start().await;
    let sidecar = world.sidecar(at, injection);
    let login = sidecar.sign_in(&world).await;

    let response = sidecar.post(&login, &call()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response).await["result"]["content"][0]["text"], "done");

    let received = world.server.only();
    let bearer = received
        .header("authorization")
        .map(|value| value.strip_prefix("Bearer ").unwrap().to_owned());
    assert_eq!(bearer.as_deref().map(audience).as_deref(), header);
    assert_eq!(received.argument().as_deref().map(audience).as_deref(), argument);
    if let (Some(bearer), Some(argument)) = (&bearer, received.argument()) {
        assert_eq!(*bearer, argument, "the server compares them");
    }
    assert_eq!(received.json()["params"]["arguments"]["a"], 1);
    assert_eq!(
        received.header("x-behalf-host-key"),
        Some(sidecar.host_key.as_str())
    );
    assert_eq!(
        received.header("content-length"),
        Some(received.body.len().to_string().as_str())
    );
    assert_eq!(
        received.header("host"),
        Some(world.server.address().to_string().as_str())
    );
}

/// Regression: `gateway sample (no user token)`.
#[rstest]
#[case(Sidecar, Header, Some(DOWNSTREAM))]
#[case(Sidecar, Argument, None)]
#[case(Sidecar, Nothing, None)]
#[case(Server, Header, Some(USER))]
#[case(Server, Argument, Some(USER))]
#[tokio::test]
async fn other_requests_carry_no_token_argument(
    #[case] at: ExchangePlace,
    #[case] injection: Injection,
    #[case] header: Option<&str>,
) {
    let world = World::start().await;
    let sidecar = world.sidecar(at, injection);
    let login = sidecar.sign_in(&world).await;
    sidecar.post(&login, &list()).await;
    let get = Request::get("/mcp").header("authorization", format!("bearer {}", login.access_token));
    let response = sidecar
        .send(get.header("last-event-id", "9").body(Body::empty()).unwrap())
        .await;
    assert_eq!(
        response.status(),
        StatusCode::METHOD_NOT_ALLOWED,
        "the server's own answer passes"
    );

    let received = world.server.received();
    assert_eq!(received[0].json(), list());
    assert_eq!(
        (&received[1].method, received[1].header("last-event-id")),
        (&Method::GET, None),
        "it belongs to a session of the server, and the request names none"
    );
    for request in received {
        let bearer = request
            .header("authorization")
            .map(|value| audience(value.strip_prefix("Bearer ").unwrap()));
        assert_eq!(bearer.as_deref(), header);
    }
}

#[rstest]
#[case(Sidecar, Header)]
#[case(Sidecar, Argument)]
#[case(Sidecar, Nothing)]
#[case(Server, Header)]
#[case(Server, Argument)]
#[tokio::test]
async fn a_token_argument_that_the_client_sent_does_not_reach_the_server(
    #[case] at: ExchangePlace,
    #[case] injection: Injection,
) {
    let world = World::start().await;
    let sidecar = world.sidecar(at, injection);
    let login = sidecar.sign_in(&world).await;
    let mut message = call();
    message["params"]["arguments"]["bearerToken"] = json!("planted");
    message["params"]["arguments"]["BearerToken"] = json!("planted");
    sidecar.post(&login, &message).await;
    let received = world.server.only();
    assert!(!String::from_utf8_lossy(&received.body).contains("planted"));
    assert_eq!(
        sidecar.count("behalf_security_events_total{event=\"reserved_argument\"}"),
        1
    );
}

#[tokio::test]
async fn headers_that_a_server_could_trust_are_not_forwarded() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    let request = post(&login)
        .header("cookie", "planted=1")
        .header("x-behalf-host-key", "planted")
        .header("x-behalf-user", "planted")
        .header("x-forwarded-user", "planted")
        .header("forwarded", "for=planted")
        .header("origin", "http://localhost:6274")
        .header("mcp-protocol-version", "2025-11-25")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "run")
        .header("mcp-param-region", "west")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        );
    sidecar
        .send(request.body(Body::from(call().to_string())).unwrap())
        .await;

    let received = world.server.only();
    for (name, value) in &received.headers {
        let value = value.to_str().unwrap();
        assert!(
            !value.contains("planted") && !value.contains(&login.access_token),
            "{name}"
        );
    }
    assert_eq!(
        received.header("x-behalf-host-key"),
        Some(sidecar.host_key.as_str())
    );
    assert_eq!(received.header("mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!(received.header("mcp-method"), Some("tools/call"));
    assert_eq!(received.header("mcp-param-region"), Some("west"));
    assert!(received.header("traceparent").is_some());
    assert_eq!(
        received.header("accept"),
        Some("application/json, text/event-stream")
    );
    assert_eq!(
        sidecar.count("behalf_security_events_total{event=\"reserved_header\"}"),
        1
    );
}

#[tokio::test]
async fn the_server_gets_exactly_one_content_type_which_is_json() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    let mut request = post(&login).body(Body::from(call().to_string())).unwrap();
    let headers = request.headers_mut();
    headers.insert("content-type", "application/json; charset=utf-7".parse().unwrap());
    headers.append("content-type", "text/plain".parse().unwrap());
    assert_eq!(sidecar.send(request).await.status(), StatusCode::OK);
    let get = Request::get("/mcp")
        .header("authorization", format!("Bearer {}", login.access_token))
        .header("content-type", "text/plain");
    sidecar.send(get.body(Body::empty()).unwrap()).await;

    let received = world.server.received();
    let types: Vec<_> = received[0].headers.get_all("content-type").iter().collect();
    assert_eq!(types, ["application/json"]);
    assert_eq!(received[1].header("content-type"), None, "there is no content");
}

#[tokio::test]
async fn the_modern_era_passes_through_unchanged() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}});
    let request = post(&login)
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "server/discover");
    let text = message.to_string();
    sidecar
        .send(request.body(Body::from(text.clone())).unwrap())
        .await;
    let received = world.server.only();
    assert_eq!(received.body, text.as_bytes());
    assert_eq!(received.header("mcp-protocol-version"), Some("2026-07-28"));
}

#[tokio::test]
async fn a_trailing_slash_is_accepted_and_a_query_is_not_forwarded() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Nothing);
    let login = sidecar.sign_in(&world).await;
    let mut request = post(&login).body(Body::from(call().to_string())).unwrap();
    *request.uri_mut() = "/mcp/?access_token=planted".parse().unwrap();
    assert_eq!(sidecar.send(request).await.status(), StatusCode::OK);
    assert_eq!(world.server.received().len(), 1);
}
