//! Fuzzes the parser of messages and the editor of arguments.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a fuzz target fails"
)]

use axum::body::Bytes;
use behalf_contract::mcp::BEARER_ARGUMENT;
use behalf_entra::Secret;
use serde_json::{Map, Value};

use super::body::Message;
use super::members::is_same;

const TOKEN: &str = "token of the user";

/// A message is refused, or it reaches the server with the user's token as its only token and otherwise unchanged.
pub fn message(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    let Ok(message) = Message::parse(body.clone()) else {
        return;
    };
    let is_tool_call = message.is_tool_call();
    let edited = message.edit(Some(&Secret::new(TOKEN))).body;
    if !is_tool_call {
        assert_eq!(edited, body, "a message without arguments was changed");
        return;
    }
    // Deeper messages than serde_json reads are left to the server, which refuses them.
    let Ok(mut sent) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let received: Value = serde_json::from_slice(&edited).expect("the edited message is JSON");
    let arguments = received.pointer("/params/arguments").and_then(Value::as_object);
    let arguments = arguments.expect("the edited message has arguments");
    let tokens: Vec<_> = arguments
        .iter()
        .filter(|(key, _)| is_same(key, BEARER_ARGUMENT))
        .collect();
    assert_eq!(tokens.len(), 1, "the arguments have one token");
    assert_eq!(
        arguments.get(BEARER_ARGUMENT).and_then(Value::as_str),
        Some(TOKEN)
    );

    put_token(&mut sent);
    assert_eq!(received, sent, "something beside the token was changed");
}

/// Does to the parsed message what the proxy does to its bytes.
fn put_token(message: &mut Value) {
    let members = message.as_object_mut().expect("a message is an object");
    let params = members.entry("params").or_insert_with(|| Map::new().into());
    let params = params
        .as_object_mut()
        .expect("the params of a tool call are an object");
    let arguments = params.entry("arguments").or_insert(Value::Null);
    if arguments.is_null() {
        *arguments = Map::new().into();
    }
    let arguments = arguments.as_object_mut().expect("arguments are an object");
    arguments.retain(|key, _| !is_same(key, BEARER_ARGUMENT));
    arguments.insert(BEARER_ARGUMENT.to_owned(), TOKEN.into());
}
