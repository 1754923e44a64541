//! Tests of JSON embedded in JSON, and of invalid ids, through the public router.

use axum::body::Body;
use axum::http::StatusCode;
use behalf_contract::ExchangePlace::Sidecar;
use behalf_contract::Injection::{Argument, Header};
use behalf_simulators::embedded_json::{KEY, hide, hide_behind, many_values, nested};
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{World, body, post};

const ESCAPED_KEY: &str = r"\u0024serde_json::private::Raw\u0056alue";

/// Sends `text`, asserts that the server receives nothing, and returns the refusal.
async fn refusal(injection: behalf_contract::Injection, text: String, mcp_method: Option<&str>) -> Value {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, injection);
    let login = sidecar.sign_in(&world).await;
    let mut request = post(&login);
    if let Some(method) = mcp_method {
        request = request.header("mcp-method", method);
    }
    let response = sidecar.send(request.body(Body::from(text)).unwrap()).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(world.server.received().len(), 0);
    body(response).await
}

#[tokio::test]
async fn an_id_with_nested_json_is_refused_before_the_headers_are_compared() {
    let id = nested(88_000);
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"run"}}}}"#);
    let answer = refusal(Header, text, Some("tools/list")).await;
    assert_eq!(answer["error"]["code"], -32600);
    assert!(answer.get("id").is_none(), "{answer}");
}

#[rstest]
#[case::params(r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":HIDDEN}"#)]
#[case::argument(
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"run","arguments":{"a":HIDDEN}}}"#
)]
#[case::another_member(r#"{"jsonrpc":"2.0","id":7,"method":"ping","other":[[HIDDEN]]}"#)]
#[tokio::test]
async fn embedded_json_is_refused_in_any_member_and_the_id_is_echoed(#[case] text: &str) {
    for hidden in [
        nested(200_000),
        many_values(200_000),
        hide("1"),
        hide_behind(ESCAPED_KEY, "1"),
    ] {
        let answer = refusal(Header, text.replace("HIDDEN", &hidden), None).await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(7), &json!(-32600))
        );
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("$serde_json::private::"),
            "says which key: {message}"
        );
    }
}

#[tokio::test]
async fn an_embedded_tool_call_is_refused() {
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"run"}}"#;
    for text in [
        hide(call),
        hide_behind(ESCAPED_KEY, call),
        hide(&hide(call)),
        format!(r#" {{ "{KEY}" : "{{}}", "id":7 }}"#),
    ] {
        let answer = refusal(Header, text, None).await;
        assert_eq!(answer["error"]["code"], -32600);
    }
}

#[rstest]
#[case::arguments(
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"run","arguments":HIDDEN}}"#,
    r#"{"bearerToken":"mine"}"#
)]
#[case::params(
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":HIDDEN}"#,
    r#"{"name":"run","arguments":{"bearerToken":"mine"}}"#
)]
#[case::message("HIDDEN", r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"run","arguments":{"bearerToken":"mine"}}}"#)]
#[tokio::test]
async fn a_token_that_the_client_sent_in_embedded_json_does_not_reach_the_server(
    #[case] text: &str,
    #[case] json: &str,
) {
    for hidden in [hide(json), hide_behind(ESCAPED_KEY, json), hide(&hide(json))] {
        let answer = refusal(Argument, text.replace("HIDDEN", &hidden), None).await;
        assert_eq!(answer["error"]["code"], -32600);
    }
}

#[tokio::test]
async fn the_reserved_key_inside_a_text_is_allowed() {
    let world = World::start().await;
    let sidecar = world.sidecar(Sidecar, Header);
    let login = sidecar.sign_in(&world).await;
    let message = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
        "name": "run", "arguments": {"a": KEY, "b": hide("1")}}});
    let response = sidecar.post(&login, &message).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(world.server.only().json()["params"]["arguments"]["b"], hide("1"));
}

#[tokio::test]
async fn a_nested_or_overlong_id_is_not_echoed() {
    let response = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{}}}"#, nested(88_000));
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#,
        "x".repeat(300)
    );
    for text in [response, long] {
        let answer = refusal(Header, text, None).await;
        assert_eq!(answer["error"]["code"], -32600);
        assert!(
            answer.get("id").is_none() && answer.to_string().len() < 300,
            "{answer}"
        );
    }
}

#[rstest]
#[case("null")]
#[case("true")]
#[case("1.5")]
#[case("1e300")]
#[case("9223372036854775808")]
#[case("{}")]
#[case("[1]")]
#[tokio::test]
async fn an_id_is_a_string_or_an_integer(#[case] id: &str) {
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    let answer = refusal(Header, text, None).await;
    assert_eq!(answer["error"]["code"], -32600);
    assert!(answer.get("id").is_none(), "{answer}");
}
