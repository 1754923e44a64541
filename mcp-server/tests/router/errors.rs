//! Tests JSON-RPC errors in both eras of the protocol.

use behalf_contract::{ExchangePlace, Injection};
use http::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Answer, Ask, Pod, SHAPES, World};

fn error_of(answer: &Answer) -> (i64, Option<Value>) {
    assert_eq!(answer.headers["content-type"], "application/json", "{answer:?}");
    let body = answer.json();
    assert_eq!(body["jsonrpc"], "2.0", "{body}");
    assert!(body["error"]["message"].is_string(), "{body}");
    (body["error"]["code"].as_i64().unwrap(), body.get("id").cloned())
}

#[rstest]
#[case::nothing("", -32700, None)]
#[case::half("{", -32700, None)]
#[case::null("null", -32600, None)]
#[case::batch(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600, None)]
#[case::no_member("{}", -32600, None)]
#[case::no_method(r#"{"jsonrpc":"2.0","id":1}"#, -32600, None)]
#[case::no_version(r#"{"id":"a","method":"ping"}"#, -32600, Some(json!("a")))]
#[case::other_version(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600, Some(json!(1)))]
#[case::method(r#"{"jsonrpc":"2.0","id":1,"method":5}"#, -32600, Some(json!(1)))]
#[case::response(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, -32600, None)]
#[case::two_kinds(r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, -32600, Some(json!(1)))]
#[case::id_null(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, None)]
#[case::id_object(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600, None)]
#[case::params(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":7}"#, -32602, Some(json!(1)))]
#[case::meta(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":7}}"#, -32602, Some(json!(1)))]
#[tokio::test]
async fn an_invalid_message_is_400_with_a_json_rpc_error_and_the_readable_id(
    #[case] body: &str,
    #[case] code: i64,
    #[case] id: Option<Value>,
) {
    let world = World::start().await;
    for shape in SHAPES {
        let answer = world.pod(shape.0, shape.1).send(Ask::raw(body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{shape:?} {answer:?}");
        assert_eq!(error_of(&answer), (code, id.clone()), "{shape:?}");
    }
}

/// Sends a request of one of the two eras.
async fn ask(pod: &Pod, is_modern: bool, method: &str, mut params: Value, token: &str) -> Answer {
    if is_modern {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
    }
    let name = params["name"].as_str().map(str::to_owned);
    let body = json!({"jsonrpc": "2.0", "id": "seven", "method": method, "params": params});
    let mut ask = Ask::message(&body).bearer(token);
    if is_modern {
        ask = ask
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method);
        if let Some(name) = name {
            ask = ask.header("mcp-name", &name);
        }
    }
    pod.send(ask).await
}

#[rstest]
#[case("tools/call", json!({}), true)]
#[case("tools/call", json!({"name": "list_pipeline_runs", "arguments": []}), true)]
#[case("tools/call", json!({"name": "list_pipeline_runs", "arguments": "x"}), true)]
#[case("tools/call", json!({"name": "no_such_tool"}), true)]
#[case("tools/list", json!({"cursor": 5}), true)]
#[case("tools/list", json!({"cursor": "eyJwYWdlIjoyfQ"}), true)]
#[case("tools/list", json!({"cursor": ""}), true)]
#[case("initialize", json!({"protocolVersion": 7}), false)]
#[tokio::test]
async fn malformed_parameters_and_cursors_of_a_known_method_are_invalid_params(
    #[case] method: &str,
    #[case] params: Value,
    #[case] in_both_eras: bool,
) {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    for is_modern in [false, true] {
        if is_modern && !in_both_eras {
            continue;
        }
        let answer = ask(&pod, is_modern, method, params.clone(), &token).await;
        assert_eq!(
            error_of(&answer),
            (-32602, Some(json!("seven"))),
            "{is_modern} {answer:?}"
        );
    }
}

/// MCP 2026-07-28: a server answers 404 and -32601 to a method that the revision removed, with any
/// parameters.
#[rstest]
#[case("initialize", json!({}))]
#[case("initialize", json!({"protocolVersion": 7}))]
#[case("ping", json!({}))]
#[tokio::test]
async fn a_method_that_2026_07_28_removed_is_not_found(#[case] method: &str, #[case] params: Value) {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let answer = ask(&pod, true, method, params, &token).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    assert_eq!(error_of(&answer), (-32601, Some(json!("seven"))), "{answer:?}");
}

#[tokio::test]
async fn a_tool_whose_name_is_no_string_is_invalid_params() {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let answer = ask(&pod, false, "tools/call", json!({"name": 5}), &token).await;
    assert_eq!(error_of(&answer), (-32602, Some(json!("seven"))), "{answer:?}");
}

#[tokio::test]
async fn a_long_id_is_refused_and_not_echoed() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#,
        "x".repeat(300)
    );
    let answer = pod.send(Ask::raw(body)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(error_of(&answer), (-32600, None));
    assert!(answer.text.len() < 300, "{answer:?}");
}

#[tokio::test]
async fn an_unknown_method_is_not_found_and_its_name_is_not_repeated() {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    for (is_modern, status) in [(false, StatusCode::OK), (true, StatusCode::NOT_FOUND)] {
        let answer = ask(&pod, is_modern, "made/up", json!({}), &token).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(error_of(&answer), (-32601, Some(json!("seven"))), "{answer:?}");
        assert!(!answer.text.contains("made/up"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_list_without_a_cursor_is_listed() {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    for is_modern in [false, true] {
        let answer = ask(&pod, is_modern, "tools/list", json!({}), &token).await;
        assert!(answer.json()["result"]["tools"].is_array(), "{answer:?}");
    }
}

#[tokio::test]
async fn the_layers_own_refusals_are_json_rpc_errors() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","x":"{}"}}"#,
        "x".repeat(256 * 1024)
    );
    let answer = pod.send(Ask::raw(long)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(error_of(&answer), (-32600, None));
    let answer = pod
        .send(Ask::request("tools/call").header("content-encoding", "gzip"))
        .await;
    assert_eq!(error_of(&answer), (415, None));
    let answer = pod.send(Ask::request("tools/call")).await;
    assert_eq!(error_of(&answer), (403, Some(json!(1))));
}
