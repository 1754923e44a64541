//! The refusals of the proxy. The server receives nothing of these requests.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use behalf_contract::ExchangePlace::Sidecar;
use behalf_contract::Injection::{Header, None as Nothing};
use rstest::rstest;
use serde_json::json;

use crate::world::{World, body, call, post};

const METADATA: &str = "https://mcp.contoso.example/.well-known/oauth-protected-resource/mcp";

fn challenge(response: &Response<Body>) -> &str {
    response.headers()["www-authenticate"].to_str().unwrap()
}

/// Regression: `gateway sample (metadata)`, whose 401 named no `resource_metadata`.
#[rstest]
#[case::no_header("/mcp", None)]
#[case::other_scheme("/mcp", Some("Basic dXNlcjpwYXNz"))]
#[case::query("/mcp?access_token=abc", None)]
#[tokio::test]
async fn without_a_token_the_challenge_names_no_error(
    #[case] path: &str,
    #[case] authorization: Option<&str>,
) {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let mut request = Request::post(path).header("content-type", "application/json");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let response = sidecar
        .send(request.body(Body::from(call().to_string())).unwrap())
        .await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        challenge(&response),
        format!("Bearer resource_metadata=\"{METADATA}\", scope=\"mcp:read mcp:run\"")
    );
    assert!(world.server.received().is_empty());
}

/// Regression: `gateway sample (static key and IV)`, which answered 500 to a changed token.
#[tokio::test]
async fn a_token_that_the_sidecar_did_not_issue_is_invalid() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    // One changed character, a token of Entra, the refresh token, and other texts.
    let mut changed = login.access_token.clone();
    let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
    changed.push(last);
    let refresh = login.refresh_token.expose().to_owned();
    for token in [
        changed,
        login.at_entra.clone(),
        refresh,
        "x".repeat(100_000),
        "%%".to_owned(),
    ] {
        let request = Request::post("/mcp").header("authorization", format!("Bearer {token}"));
        let response = sidecar.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(
            challenge(&response).starts_with("Bearer error=\"invalid_token\", "),
            "{}",
            challenge(&response)
        );
    }
    assert!(world.server.received().is_empty());
    assert_eq!(
        sidecar.count("behalf_security_events_total{event=\"invalid_access_token\"}"),
        5
    );
}

#[rstest]
#[case::not_json("{", 400, -32700)]
#[case::empty("", 400, -32700)]
#[case::batch(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, 400, -32600)]
#[case::twice(r#"{"id":1,"method":"ping","method":"tools/call"}"#, 400, -32600)]
#[case::arguments(r#"{"id":1,"method":"tools/call","params":{"arguments":[]}}"#, 400, -32602)]
#[case::not_unicode(
    r#"{"id":1,"method":"tools/call","params":{"arguments":{"\ud800":1,"bearerToken":"x"}}}"#,
    400,
    -32602
)]
#[tokio::test]
async fn an_ambiguous_or_unreadable_body_is_a_client_error(
    #[case] text: &'static str,
    #[case] status: u16,
    #[case] code: i32,
) {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    let response = sidecar.send(post(&login).body(Body::from(text)).unwrap()).await;
    assert_eq!(response.status(), status);
    let answer = body(response).await;
    assert_eq!(
        (&answer["jsonrpc"], &answer["error"]["code"]),
        (&json!("2.0"), &json!(code))
    );
    assert!(world.server.received().is_empty());
}

#[rstest]
#[case::method(r#"{"id":"a","method":7}"#, -32600)]
#[case::twice(r#"{"method":"ping","Method":"tools/call","id":"a"}"#, -32600)]
#[case::params(r#"{"id":"a","method":"tools/call","params":7}"#, -32602)]
#[case::arguments(r#"{"id":"a","method":"tools/call","params":{"arguments":[]}}"#, -32602)]
#[tokio::test]
async fn a_readable_id_is_echoed_when_the_rest_is_refused(#[case] text: &'static str, #[case] code: i32) {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    let response = sidecar.send(post(&login).body(Body::from(text)).unwrap()).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let answer = body(response).await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!("a"), &json!(code))
    );
}

#[tokio::test]
async fn an_error_whose_request_is_unknown_has_no_id() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    let with = |text: &'static str| post(&login).body(Body::from(text)).unwrap();
    let text = Request::post("/mcp").header("authorization", format!("Bearer {}", login.access_token));
    for (request, status) in [
        (Request::post("/mcp").body(Body::empty()).unwrap(), 401),
        (Request::put("/mcp").body(Body::empty()).unwrap(), 405),
        (
            text.header("content-type", "text/plain")
                .body(Body::from("{}"))
                .unwrap(),
            415,
        ),
        (with("{"), 400),
        (with("7"), 400),
        (with(r#"[{"id":1,"method":"ping"}]"#), 400),
        (with(r#"{"id":null,"method":"ping"}"#), 400),
        (with(r#"{"id":1,"id":2,"method":"ping"}"#), 400),
    ] {
        let response = sidecar.send(request).await;
        assert_eq!(response.status(), status);
        let answer = body(response).await;
        assert!(
            answer["error"]["code"].is_i64() && answer.get("id").is_none(),
            "{answer}"
        );
    }
}

#[rstest]
#[case(None)]
#[case(Some("*/*"))]
#[case(Some("application/json"))]
#[tokio::test]
async fn every_request_to_the_server_accepts_json_and_event_streams(#[case] accept: Option<&str>) {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    let mut request = post(&login).body(Body::from(call().to_string())).unwrap();
    request.headers_mut().remove("accept");
    if let Some(accept) = accept {
        request.headers_mut().insert("accept", accept.parse().unwrap());
    }
    assert_eq!(sidecar.send(request).await.status(), StatusCode::OK);
    let expected = Some("application/json, text/event-stream");
    assert_eq!(world.server.only().header("accept"), expected);
}

#[rstest]
#[case::compressed("content-encoding", "gzip", 415)]
#[case::form("content-type", "application/x-www-form-urlencoded", 415)]
#[case::text("content-type", "text/plain", 415)]
#[case::method("mcp-method", "tools/list", 400)]
#[case::name("mcp-name", "walk", 400)]
#[case::origin("origin", "https://evil.example", 403)]
#[case::opaque_origin("origin", "null", 403)]
#[tokio::test]
async fn a_header_that_contradicts_the_body_is_refused(
    #[case] name: &str,
    #[case] value: &str,
    #[case] status: u16,
) {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    let mut request = post(&login).body(Body::from(call().to_string())).unwrap();
    let name: axum::http::HeaderName = name.parse().unwrap();
    request.headers_mut().insert(name, value.parse().unwrap());
    let response = sidecar.send(request).await;
    assert_eq!(response.status(), status);
    assert!(!response.headers().contains_key("access-control-allow-origin"));
    if status == 400 {
        assert_eq!(body(response).await["error"]["code"], -32020);
    }
    assert!(world.server.received().is_empty());
    let counted = ["header_body_mismatch", "foreign_origin"].map(|event| sidecar.security_events(event));
    let expected = [status == 400, status == 403].map(u64::from);
    assert_eq!(counted, expected);
}

#[rstest]
#[case::announced(true)]
#[case::streamed(false)]
#[tokio::test]
async fn a_message_of_more_than_four_mebibytes_is_refused(#[case] announced: bool) {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    let chunk = vec![b' '; 1024 * 1024];
    let body = if announced {
        Body::from(chunk.repeat(5))
    } else {
        let chunks = (0..5).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
        Body::from_stream(futures::stream::iter(chunks))
    };
    let mut request = post(&login).body(body).unwrap();
    if announced {
        request
            .headers_mut()
            .insert("content-length", (5 * 1024 * 1024).into());
    }
    assert_eq!(
        sidecar.send(request).await.status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert!(world.server.received().is_empty());
}

#[tokio::test]
async fn an_unsupported_method_gets_405_with_allow() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    for method in ["PUT", "HEAD", "PATCH", "TRACE"] {
        let request = Request::builder()
            .method(method)
            .uri("/mcp")
            .body(Body::empty())
            .unwrap();
        let response = sidecar.send(request).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(response.headers()["allow"], "POST, GET, DELETE, OPTIONS");
    }
}

#[tokio::test]
async fn an_allowed_page_gets_a_preflight_answer_and_may_read_refusals() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Nothing);
    let preflight = Request::options("/mcp")
        .header("origin", "http://localhost:6274")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization, content-type, mcp-protocol-version",
        );
    let response = sidecar.send(preflight.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        response.headers()["access-control-allow-origin"],
        "http://localhost:6274"
    );
    assert_eq!(
        response.headers()["access-control-allow-headers"],
        "authorization, content-type, mcp-protocol-version"
    );
    assert!(
        world.server.received().is_empty(),
        "a preflight carries no token, so it stays here"
    );

    let request = Request::post("/mcp")
        .header("origin", "http://localhost:6274")
        .body(Body::empty())
        .unwrap();
    let response = sidecar.send(request).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let exposed = response.headers()["access-control-expose-headers"]
        .to_str()
        .unwrap();
    assert!(
        exposed.contains("WWW-Authenticate"),
        "it finds the login there: {exposed}"
    );
}
