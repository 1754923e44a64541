//! Parses and checks one JSON-RPC message before the MCP library reads it. Does no I/O.

use behalf_contract::RequestId;
use behalf_contract::json::{self, JsonError};
use behalf_contract::mcp::{BEARER_ARGUMENT, TOOLS_CALL};
use behalf_entra::Secret;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// The only method with a cursor.
const TOOLS_LIST: &str = "tools/list";

/// The methods that need no token: the handshake and the list of tools.
const WITHOUT_TOKEN: [&str; 5] = [
    "initialize",
    "notifications/initialized",
    "server/discover",
    "ping",
    TOOLS_LIST,
];

/// Maximum size of a message in bytes: twice the size of the largest parameters of a pipeline, and the limit of the
/// MCP library.
pub(crate) const MAX_BODY_BYTES: usize = 256 * 1024;

/// Maximum number of JSON values in one message: ten times the number in the largest call of these tools.
const MAX_VALUES: usize = 2_000;

/// The reason why a body is not a valid message. Each is a mistake of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    /// The body is not JSON, or exceeds a limit of the JSON parser.
    #[error("{0}")]
    Json(#[from] JsonError),

    /// The body contains several messages. MCP 2025-06-18 and later forbid this; the server refuses it in
    /// every revision.
    #[error("batches are not supported: send each message in a request of its own")]
    Batch,

    /// The body is not a request or notification (JSON-RPC 2.0, sections 4 and 4.1). A server without
    /// sessions sends no requests, so it expects no responses.
    #[error(
        "the body must be a JSON-RPC 2.0 request or notification: an object with \"jsonrpc\": \"2.0\", a \
         method that is a string, and neither result nor error"
    )]
    Shape,

    /// The id is not a string or an integer. MCP forbids `null`.
    #[error("the id must be an integer or a string of at most 256 bytes; a notification has none")]
    Id,

    /// MCP has parameters by name only. The MCP library takes a cursor of another kind for none.
    #[error("params and params._meta must be objects, and params.cursor of tools/list a string")]
    Params,
}

impl MessageError {
    /// The code of JSON-RPC 2.0, section 5.1.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Json(JsonError::NotJson) => -32700,
            Self::Json(_) | Self::Batch | Self::Shape | Self::Id => -32600,
            Self::Params => -32602,
        }
    }
}

/// Builds a JSON-RPC error. An error to a request whose id is unknown has no `id` (MCP 2026-07-28, Error Responses).
pub(crate) fn json_rpc_error(code: i32, message: &str, id: Option<&RequestId>) -> Value {
    let mut error = json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}});
    if let Some(id) = id {
        error["id"] = json!(id);
    }
    error
}

/// A checked message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(super) method: String,
    /// Absent in notifications.
    pub(super) id: Option<RequestId>,
    /// The value of `params.arguments.bearerToken`.
    pub(super) bearer: Bearer,
    /// Length in bytes of the message as it was received.
    pub(super) length: usize,
    /// Number of JSON values in the message.
    pub(super) values: usize,
    /// The message without the token, serialized again. The MCP library thus reads exactly the checked
    /// values, also if the sender wrote a member twice.
    pub(crate) bytes: Bytes,
}

/// The argument `bearerToken`, which the sidecar sets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bearer {
    Absent,
    Token(Secret),
    NotText,
}

impl Message {
    /// Parses `body`. The MCP library can read every message that this function accepts.
    pub(crate) fn read(body: &[u8]) -> Result<Self, MessageError> {
        let json::Parsed { value, values } = json::parse(body, MAX_VALUES)?;
        let mut message = match value {
            Value::Object(message) => message,
            Value::Array(_) => return Err(MessageError::Batch),
            _ => return Err(MessageError::Shape),
        };
        let id = match message.get("id") {
            Some(id) => Some(serde::Deserialize::deserialize(id).map_err(|_| MessageError::Id)?),
            None => None,
        };
        let is_response = message.contains_key("result") || message.contains_key("error");
        let is_version_2 = message.get("jsonrpc").is_some_and(|version| version == "2.0");
        let method = match message.get("method") {
            Some(Value::String(method)) if is_version_2 && !is_response => method.clone(),
            _ => return Err(MessageError::Shape),
        };
        let params = object(&mut message, "params")?;
        let bearer = match params {
            Some(params) => {
                object(params, "_meta")?;
                let cursor = params.get("cursor").unwrap_or(&Value::Null);
                if method == TOOLS_LIST && !(cursor.is_string() || cursor.is_null()) {
                    return Err(MessageError::Params);
                }
                remove_bearer(params)
            }
            None => Bearer::Absent,
        };
        Ok(Self {
            method,
            id,
            bearer,
            length: body.len(),
            values,
            bytes: Bytes::from(Value::Object(message).to_string()),
        })
    }

    /// Returns the method as the name of a span. Clients choose the text of unknown methods.
    pub(super) fn label(&self) -> &'static str {
        let mut known = WITHOUT_TOKEN.into_iter().chain([TOOLS_CALL]);
        known.find(|method| *method == self.method).unwrap_or("other")
    }

    /// Returns true for the only method that acts for the user.
    pub(super) fn is_tool_call(&self) -> bool {
        self.method == TOOLS_CALL
    }

    /// Returns true for a method that the host key alone permits.
    pub(super) fn needs_no_token(&self) -> bool {
        WITHOUT_TOKEN.contains(&self.method.as_str())
    }
}

/// Returns a member that is an object, if it is present. `null` counts as absent, as in the MCP library.
fn object<'parent>(
    parent: &'parent mut Map<String, Value>,
    member: &str,
) -> Result<Option<&'parent mut Map<String, Value>>, MessageError> {
    match parent.get_mut(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(MessageError::Params),
    }
}

/// Removes the argument `bearerToken` and returns it.
fn remove_bearer(params: &mut Map<String, Value>) -> Bearer {
    let arguments = params.get_mut("arguments").and_then(Value::as_object_mut);
    match arguments.and_then(|arguments| arguments.remove(BEARER_ARGUMENT)) {
        None => Bearer::Absent,
        Some(Value::String(token)) => Bearer::Token(Secret::new(token)),
        Some(_) => Bearer::NotText,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn message(text: &str) -> Message {
        Message::read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn removes_the_token_from_the_arguments() {
        let message = message(
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","arguments":{"top":1,"bearerToken":"secret"}}}"#,
        );
        assert_eq!(message.bearer, Bearer::Token(Secret::new("secret")));
        assert!(message.is_tool_call());
        assert_eq!(
            (message.id.clone(), message.values),
            (Some(RequestId::Integer(7)), 9)
        );
        let text = std::str::from_utf8(&message.bytes).unwrap();
        assert!(
            !text.contains("secret") && !text.contains("bearerToken"),
            "{text}"
        );
        assert!(text.contains(r#""top":1"#));
        assert!(!format!("{message:?}").contains("secret"));
    }

    #[test]
    fn the_last_of_two_equal_members_counts() {
        let message = message(
            r#"{"jsonrpc":"2.0","method":"tools/list","method":"tools/call","params":{"arguments":{"bearerToken":"one","bearerToken":"two"}}}"#,
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
    fn removes_a_token_that_is_no_string() {
        let message = message(
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"arguments":{"bearerToken":{"a":"secret"}}}}"#,
        );
        assert_eq!(message.bearer, Bearer::NotText);
        assert!(!std::str::from_utf8(&message.bytes).unwrap().contains("secret"));
    }

    #[rstest]
    #[case("", -32700)]
    #[case("{", -32700)]
    #[case("\u{fffd}", -32700)]
    #[case("5", -32600)]
    #[case("null", -32600)]
    #[case("\"method\"", -32600)]
    #[case(r#"[{"jsonrpc":"2.0","method":"ping"}]"#, -32600)]
    #[case("{}", -32600)]
    #[case(r#"{"jsonrpc":"2.0"}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":1}"#, -32600)]
    #[case(r#"{"id":1,"method":"ping"}"#, -32600)]
    #[case(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600)]
    #[case(r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":1,"method":5}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":1,"method":"ping","error":{}}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600)]
    #[case(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":7}"#, -32602)]
    #[case(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, -32602)]
    #[case(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":"x"}}"#, -32602)]
    fn refuses_an_invalid_message_with_the_code_of_json_rpc(#[case] text: &str, #[case] code: i32) {
        assert_eq!(Message::read(text.as_bytes()).unwrap_err().code(), code);
    }

    #[test]
    fn only_the_handshake_needs_no_token() {
        let of = |method: &str| message(&format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#));
        for method in WITHOUT_TOKEN {
            assert!(of(method).needs_no_token(), "{method}");
        }
        for method in [
            "tools/call",
            "resources/list",
            "notifications/cancelled",
            "Tools/List",
            "",
        ] {
            assert!(!of(method).needs_no_token(), "{method}");
        }
    }
}
