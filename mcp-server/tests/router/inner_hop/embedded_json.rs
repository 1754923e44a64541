//! Sends JSON that is hidden inside JSON through the layer in front of the MCP server.

use behalf_contract::{ExchangePlace, Injection};
use behalf_simulators::embedded_json::{hide, hide_behind, many_values, nested};
use http::StatusCode;
use rstest::rstest;
use serde_json::json;

use crate::support::{Answer, Ask, SHAPES, World};

const ESCAPED_KEY: &str = r"\u0024serde_json::private::Raw\u0056alue";

fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["error"]["code"], -32600, "{body}");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("$serde_json::private::"),
        "says which key: {message}"
    );
}

#[rstest]
#[case::id(r#"{"jsonrpc":"2.0","id":HIDDEN,"method":"ping"}"#, false)]
#[case::params(r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":HIDDEN}"#, true)]
#[case::argument(
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","arguments":{"a":HIDDEN}}}"#,
    true
)]
#[case::another_member(r#"{"jsonrpc":"2.0","id":7,"method":"ping","other":[HIDDEN]}"#, true)]
#[case::result(r#"{"jsonrpc":"2.0","id":7,"result":HIDDEN}"#, false)]
#[tokio::test]
async fn embedded_json_is_refused_in_any_member(#[case] text: &str, #[case] has_id: bool) {
    let world = World::start().await;
    for shape in SHAPES {
        let pod = world.pod(shape.0, shape.1);
        for hidden in [
            nested(247_000),
            many_values(225_000),
            hide("1"),
            hide_behind(ESCAPED_KEY, "1"),
        ] {
            let answer = pod.send(Ask::raw(text.replace("HIDDEN", &hidden))).await;
            assert_refused(&answer);
            assert_eq!(answer.json().get("id"), has_id.then_some(&json!(7)));
        }
    }
}

#[tokio::test]
async fn an_embedded_tool_call_is_refused() {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
        "name": "list_pipeline_runs", "arguments": {"bearerToken": token}}});
    for shape in SHAPES {
        let pod = world.pod(shape.0, shape.1);
        for text in [
            hide(&call.to_string()),
            hide_behind(ESCAPED_KEY, &call.to_string()),
            hide(&hide(&call.to_string())),
        ] {
            assert_refused(&pod.send(Ask::raw(text).bearer(&token)).await);
        }
    }
    assert!(world.azure().record().await.unwrap().is_empty());
}

#[tokio::test]
async fn thirty_parallel_calls_with_embedded_values_are_refused() {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"list_pipeline_runs","arguments":{{"a":{}}}}}}}"#,
        many_values(225_000)
    );
    let calls = (0..30).map(|_| pod.send(Ask::raw(text.clone()).bearer(&token)));
    for answer in futures::future::join_all(calls).await {
        assert_refused(&answer);
    }
}

#[tokio::test]
async fn the_depth_is_limited() {
    let world = World::start().await;
    let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
    for (depth, status) in [
        (90, StatusCode::OK),
        (110, StatusCode::BAD_REQUEST),
        (100_000, StatusCode::BAD_REQUEST),
    ] {
        let value = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"ping","params":{{"a":{value}}}}}"#);
        let answer = pod.send(Ask::raw(text)).await;
        assert_eq!(answer.status, status, "{depth}: {answer:?}");
        assert_eq!(answer.json()["id"], 7, "{depth}");
    }
}
