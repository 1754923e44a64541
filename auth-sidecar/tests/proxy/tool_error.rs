//! Checks an answer that is a tool result with an error.

use axum::body::Body;
use axum::http::{Response, StatusCode};

use crate::world::{body, call};

/// Asserts that `response` is the error result of the tool call [`call`]. Returns its text for the user.
pub(crate) async fn tool_error(response: Response<Body>) -> String {
    assert_eq!(response.status(), StatusCode::OK);
    let answer = body(response).await;
    assert_eq!(answer["id"], call()["id"], "{answer}");
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    answer["result"]["content"][0]["text"]
        .as_str()
        .unwrap()
        .to_owned()
}
