//! Tests messages that the layer or the MCP library refuses.

use behalf_contract::{ExchangePlace, Injection};
use http::StatusCode;
use rstest::rstest;
use serde_json::json;

use crate::support::{Ask, SHAPES, World};

#[tokio::test]
async fn refuses_batches_compression_and_size() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let answer = pod
        .send(Ask::raw(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#))
        .await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].clone()),
        (StatusCode::BAD_REQUEST, json!(-32600))
    );

    let answer = pod
        .send(Ask::request("ping").header("content-encoding", "gzip"))
        .await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);

    let large = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","x":"{}"}}"#,
        "x".repeat(256 * 1024)
    );
    let answer = pod.send(Ask::raw(large)).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].clone()),
        (StatusCode::PAYLOAD_TOO_LARGE, json!(-32600))
    );
}

#[rstest]
#[case::objects(r#"{"":0}"#)]
#[case::arrays("[]")]
#[case::numbers("0")]
#[tokio::test]
async fn refuses_more_values_than_the_limit(#[case] value: &str) {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let ping = |values: String| {
        Ask::raw(format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":[{values}]}}}}"#
        ))
    };
    let answer = pod.send(ping(vec![value; 20_000].join(","))).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].clone()),
        (StatusCode::BAD_REQUEST, json!(-32600))
    );
    let text = format!("\"{}\\\"\"", value.replace('"', "\\\"").repeat(20_000));
    let answer = pod.send(ping(text)).await;
    assert_eq!(answer.status, StatusCode::OK, "a text is one value: {answer:?}");
}

#[tokio::test]
async fn an_invalid_message_is_never_a_500() {
    let world = World::start().await;
    for shape in SHAPES {
        let pod = world.pod(shape.0, shape.1);
        for body in [
            "",
            "{",
            "null",
            "5",
            "\"x\"",
            "{}",
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":7}"#,
        ] {
            let answer = pod.send(Ask::raw(body)).await;
            assert!(answer.status.as_u16() < 500, "{shape:?} {body}: {answer:?}");
        }
    }
}

#[rstest]
#[case(
    "content-type",
    "text/plain",
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "Content-Type must be"
)]
#[case("accept", "text/plain", StatusCode::NOT_ACCEPTABLE, "Accept must list")]
#[case("host", "planted.example", StatusCode::FORBIDDEN, "Host and Origin must")]
#[tokio::test]
async fn a_refusal_of_the_mcp_library_is_a_json_rpc_error_with_the_id(
    #[case] header: &'static str,
    #[case] value: &str,
    #[case] status: StatusCode,
    #[case] message: &str,
) {
    let world = World::start().await;
    for shape in SHAPES {
        let pod = world.pod(shape.0, shape.1);
        let answer = pod.send(Ask::request("tools/list").header(header, value)).await;
        assert_eq!(answer.status, status, "{shape:?} {answer:?}");
        let body = answer.json();
        assert_eq!(
            (&body["jsonrpc"], &body["id"]),
            (&json!("2.0"), &json!(1)),
            "{body}"
        );
        assert_eq!(body["error"]["code"], status.as_u16(), "{body}");
        assert!(
            body["error"]["message"].as_str().unwrap().contains(message),
            "{body}"
        );
        // The message is checked first.
        let answer = pod
            .send(Ask::raw(r#"{"jsonrpc":"2.0","id":1,"method":5}"#).header(header, value))
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
        assert_eq!(answer.json()["error"]["code"], -32600, "{answer:?}");
    }
}

#[tokio::test]
async fn the_answer_to_a_malformed_tool_call_contains_no_token() {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Argument);
    for params in [
        json!({"arguments": {"bearerToken": token}}),
        json!({"name": 5, "arguments": {"bearerToken": token}}),
        json!({"name": "no_such_tool", "arguments": {"bearerToken": token}}),
    ] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let answer = pod.send(Ask::message(&body)).await;
        assert!(answer.status.as_u16() < 500, "{answer:?}");
        assert!(!answer.text.contains(&token));
    }
}

#[tokio::test]
async fn refuses_a_foreign_host_and_ignores_the_origin_of_the_client() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let answer = pod
        .send(Ask::request("tools/list").header("host", "evil.example"))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = pod
        .send(Ask::request("tools/list").header("origin", "https://mcp.contoso.example"))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}
