//! A request body, as far as the inner hop is concerned. Pure.

use behalf_contract::headers::BEARER_ARGUMENT;
use behalf_entra::Secret;
use bytes::Bytes;
use serde_json::Value;

/// The method that needs a token.
const TOOL_CALL: &str = "tools/call";

/// What a request without a token may do: shake hands and see which tools there are.
const WITHOUT_TOKEN: [&str; 5] = [
    "initialize",
    "notifications/initialized",
    "server/discover",
    "ping",
    "tools/list",
];

/// What a body is.
#[derive(Debug)]
pub(super) enum Body {
    /// One JSON-RPC message, or at least a JSON object.
    Message(Message),

    /// Several messages: 2025-06-18 and later forbid that, and so do we for all.
    Batch,

    /// Nothing that JSON-RPC knows.
    Other,
}

/// How many values a JSON text has at most, without building any: each begins behind a brace, a bracket or a
/// comma. Built, the smallest of them takes hundreds of times its text, `{"":0}` a whole node of a tree.
pub(super) fn count_values(bytes: &[u8]) -> usize {
    let (mut count, mut is_text, mut is_escaped) = (0, false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b'{' | b'[' | b',' if !is_text => count += 1,
            _ => {}
        }
    }
    count
}

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) method: Option<String>,
    pub(super) id: Option<Value>,
    /// What stood in `params.arguments.bearerToken`.
    pub(super) bearer: Bearer,
    /// The message without it, written anew: what was checked here is what is read next, also when the
    /// sender wrote a member twice.
    pub(super) bytes: Bytes,
}

/// The reserved argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bearer {
    Absent,
    Token(Secret),
    NotText,
}

impl Body {
    pub(super) fn read(bytes: &[u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(message)) => Self::Message(Message::read(Value::Object(message))),
            Ok(Value::Array(_)) => Self::Batch,
            _ => Self::Other,
        }
    }
}

impl Message {
    fn read(mut message: Value) -> Self {
        let reserved = message
            .get_mut("params")
            .and_then(|params| params.get_mut("arguments"))
            .and_then(Value::as_object_mut)
            .and_then(|arguments| arguments.remove(BEARER_ARGUMENT));
        let bearer = match reserved {
            None => Bearer::Absent,
            Some(Value::String(token)) => Bearer::Token(Secret::new(token)),
            Some(_) => Bearer::NotText,
        };
        Self {
            method: message.get("method").and_then(Value::as_str).map(str::to_owned),
            id: message
                .get("id")
                .filter(|id| id.is_string() || id.is_number())
                .cloned(),
            bearer,
            bytes: Bytes::from(message.to_string()),
        }
    }

    /// True for the only thing that acts for a user.
    pub(super) fn is_tool_call(&self) -> bool {
        self.method.as_deref() == Some(TOOL_CALL)
    }

    /// True for what the host key alone permits. An object without a method does nothing: it is left to the
    /// MCP library to say what is wrong with it.
    pub(super) fn needs_no_token(&self) -> bool {
        self.method
            .as_deref()
            .is_none_or(|method| WITHOUT_TOKEN.contains(&method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        match Body::read(text.as_bytes()) {
            Body::Message(message) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn takes_the_token_out_of_the_arguments() {
        let message = message(
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","arguments":{"top":1,"bearerToken":"secret"}}}"#,
        );
        assert_eq!(message.bearer, Bearer::Token(Secret::new("secret")));
        assert!(message.is_tool_call());
        let text = std::str::from_utf8(&message.bytes).unwrap();
        assert!(
            !text.contains("secret") && !text.contains("bearerToken"),
            "{text}"
        );
        assert!(text.contains(r#""top":1"#));
        assert!(!format!("{message:?}").contains("secret"));
    }

    #[test]
    fn a_member_written_twice_has_one_meaning() {
        let message = message(
            r#"{"method":"tools/list","method":"tools/call","params":{"arguments":{"bearerToken":"one","bearerToken":"two"}}}"#,
        );
        assert!(message.is_tool_call() && !message.needs_no_token());
        assert_eq!(message.bearer, Bearer::Token(Secret::new("two")));
        assert_eq!(
            std::str::from_utf8(&message.bytes)
                .unwrap()
                .matches("method")
                .count(),
            1
        );
    }

    #[test]
    fn an_argument_that_is_no_text_is_taken_out_too() {
        let message =
            message(r#"{"method":"tools/call","params":{"arguments":{"bearerToken":{"a":"secret"}}}}"#);
        assert_eq!(message.bearer, Bearer::NotText);
        assert!(!std::str::from_utf8(&message.bytes).unwrap().contains("secret"));
    }

    #[test]
    fn knows_batches_and_what_is_no_message() {
        assert!(matches!(Body::read(br#"[{"method":"ping"}]"#), Body::Batch));
        for text in ["", "5", "null", "{", "\"method\"", "\u{fffd}"] {
            assert!(matches!(Body::read(text.as_bytes()), Body::Other), "{text:?}");
        }
    }

    #[test]
    fn counts_values_and_nothing_in_texts() {
        for (text, count) in [
            (r#"{"":0}"#, 1),
            (r#"[{"":0},{"":0}]"#, 4),
            ("[[],[],[]]", 6),
            (r#"{"a\"[,{":"[[[\\","b":[1,2]}"#, 4),
            (r#""\\" , ["#, 2),
        ] {
            assert_eq!(count_values(text.as_bytes()), count, "{text}");
        }
    }

    #[test]
    fn only_the_handshake_needs_no_token() {
        for method in WITHOUT_TOKEN {
            assert!(
                message(&format!(r#"{{"method":"{method}"}}"#)).needs_no_token(),
                "{method}"
            );
        }
        for method in [
            "tools/call",
            "resources/list",
            "notifications/cancelled",
            "Tools/List",
            "",
        ] {
            assert!(
                !message(&format!(r#"{{"method":"{method}"}}"#)).needs_no_token(),
                "{method}"
            );
        }
    }
}
