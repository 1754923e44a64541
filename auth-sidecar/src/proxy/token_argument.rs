//! Puts the user's token among the arguments of a tool call, and removes a token that the client sent there.

use std::ops::Range;

use axum::body::Bytes;
use behalf_contract::mcp::BEARER_ARGUMENT;
use behalf_entra::Secret;
use serde_json::value::RawValue;

use super::body_error::BodyError;
use super::members::{self, is_object};

/// The position of the arguments of `tools/call` in the body.
#[derive(Debug, Clone)]
pub(super) enum ArgumentsPosition {
    /// The message is not a `tools/call`.
    None,

    /// The message has no `params`. The value is the offset after the message's opening brace.
    NoParams(usize),

    /// `params` has no `arguments`. The fields are the offset after its opening brace, and whether it has members.
    NoArguments { behind_brace: usize, has_members: bool },

    /// `arguments` is an object or `null`.
    Arguments {
        range: Range<usize>,
        /// The keys and the positions of their values, without the reserved argument.
        kept: Vec<(String, Range<usize>)>,
        /// True if the client sent the reserved argument.
        dropped: bool,
    },
}

/// The body for the server.
#[derive(Debug)]
pub(super) struct Edited {
    /// The bytes to send.
    pub(super) body: Bytes,

    /// True if the client sent the reserved argument, which was removed.
    pub(super) dropped: bool,
}

impl ArgumentsPosition {
    /// Removes the reserved argument that the client sent, and inserts `token` if there is one. Everything else
    /// stays unchanged, so that the mirrored headers still agree with it.
    pub(super) fn edit(&self, body: Bytes, token: Option<&Secret>) -> Edited {
        let member = token.map(|token| {
            // Encoding a string as JSON cannot fail. The server would refuse an empty token.
            let value = serde_json::to_string(token.expose()).unwrap_or_else(|_| "\"\"".to_owned());
            format!("\"{BEARER_ARGUMENT}\":{value}")
        });
        let member = member.as_deref();
        match self {
            Self::None => Edited { body, dropped: false },
            Self::NoParams(at) => {
                // The message has at least the member `method`, so a comma must follow.
                let new = member.map(|member| format!("\"params\":{{\"arguments\":{{{member}}}}},"));
                Edited {
                    body: insert(&body, *at, new),
                    dropped: false,
                }
            }
            Self::NoArguments {
                behind_brace: at,
                has_members,
            } => {
                let comma = if *has_members { "," } else { "" };
                let new = member.map(|member| format!("\"arguments\":{{{member}}}{comma}"));
                Edited {
                    body: insert(&body, *at, new),
                    dropped: false,
                }
            }
            Self::Arguments { range, kept, dropped } => {
                let body = if *dropped || member.is_some() {
                    with_arguments(&body, range, kept, member)
                } else {
                    body
                };
                Edited {
                    body,
                    dropped: *dropped,
                }
            }
        }
    }
}

/// Returns the position of `arguments` and its members in `text`.
pub(super) fn position_of(text: &str, arguments: &RawValue) -> Result<ArgumentsPosition, BodyError> {
    let fields = if is_object(arguments) {
        members::of(arguments).ok_or(BodyError::Params)?.0
    } else {
        Vec::new()
    };
    let before = fields.len();
    let kept: Vec<_> = fields
        .into_iter()
        .filter(|(key, _)| !members::is_same(key, BEARER_ARGUMENT))
        .map(|(key, value)| (key.into_owned(), range(text, value)))
        .collect();
    Ok(ArgumentsPosition::Arguments {
        range: range(text, arguments),
        dropped: kept.len() < before,
        kept,
    })
}

/// Returns the body with new arguments. It writes the body once, because bodies are large and each copy of the token
/// stays in memory.
fn with_arguments(
    body: &Bytes,
    range: &Range<usize>,
    kept: &[(String, Range<usize>)],
    member: Option<&str>,
) -> Bytes {
    // The ranges are valid, because the parser took them from the same body.
    let part = |range: Range<usize>| body.get(range).unwrap_or_default();
    let mut new = Vec::with_capacity(body.len() + member.map_or(0, str::len) + 2);
    new.extend_from_slice(part(0..range.start));
    new.push(b'{');
    new.extend_from_slice(member.unwrap_or_default().as_bytes());
    let mut is_first = member.is_none();
    for (key, value) in kept {
        if !std::mem::take(&mut is_first) {
            new.push(b',');
        }
        new.extend_from_slice(serde_json::Value::from(key.as_str()).to_string().as_bytes());
        new.push(b':');
        new.extend_from_slice(part(value.clone()));
    }
    new.push(b'}');
    new.extend_from_slice(part(range.end..body.len()));
    new.into()
}

/// Returns the body with `new` inserted at the offset `at`.
fn insert(body: &Bytes, at: usize, new: Option<String>) -> Bytes {
    let Some(new) = new else {
        return body.clone();
    };
    match body.split_at_checked(at) {
        Some((head, tail)) => [head, new.as_bytes(), tail].concat().into(),
        None => body.clone(),
    }
}

/// Returns the position of `raw` in `text`. `raw` must be a part of `text`.
fn range(text: &str, raw: &RawValue) -> Range<usize> {
    let start = offset(text, raw);
    start..start + raw.get().len()
}

/// Returns the offset of `raw` in `text`. `raw` must be a part of `text`.
pub(super) fn offset(text: &str, raw: &RawValue) -> usize {
    raw.get().as_ptr() as usize - text.as_ptr() as usize
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::super::body::Message;
    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn edited(text: &str, token: Option<&str>) -> (String, bool) {
        let edited = message(text).edit(token.map(Secret::new).as_ref());
        (String::from_utf8(edited.body.to_vec()).unwrap(), edited.dropped)
    }

    #[rstest]
    // The arguments are there, empty, null, absent; params absent or empty.
    #[case(r#"{"id":1,"method":"tools/call","params":{"name":"run","arguments":{"a":1}}}"#, json!({"a": 1}))]
    #[case(r#"{"id":1,"method":"tools/call","params":{"name":"run","arguments":{}}}"#, json!({}))]
    #[case(r#"{"id":1,"method":"tools/call","params":{"name":"run","arguments": null }}"#, json!({}))]
    #[case(r#"{"id":1,"method":"tools/call","params":{"name":"run"}}"#, json!({}))]
    #[case(r#"{"id":1,"method":"tools/call","params": { } }"#, json!({}))]
    #[case(r#" { "id":1, "method":"tools/call" } "#, json!({}))]
    fn puts_the_token_among_the_arguments(#[case] text: &str, #[case] others: Value) {
        let (body, dropped) = edited(text, Some("to\"ken"));
        let body: Value = serde_json::from_str(&body).unwrap();
        let mut expected = others;
        expected["bearerToken"] = json!("to\"ken");
        assert_eq!(body["params"]["arguments"], expected);
        assert_eq!(body["id"], 1);
        assert_eq!(body["method"], "tools/call");
        assert!(!dropped);
    }

    #[test]
    fn the_rest_of_the_body_stays_byte_for_byte() {
        let text = r#"{ "x":1e400,"method":"tools/call","params":{"_meta":{"a":1.0},"name":"\u0072un","arguments":{"big":12345678901234567890123,"bearerToken":"mine","s":"\u00e4"},"z":[1 ,2]},"id":"7" }"#;
        let (body, dropped) = edited(text, Some("t"));
        assert!(dropped);
        assert_eq!(
            body,
            r#"{ "x":1e400,"method":"tools/call","params":{"_meta":{"a":1.0},"name":"\u0072un","arguments":{"bearerToken":"t","big":12345678901234567890123,"s":"\u00e4"},"z":[1 ,2]},"id":"7" }"#
        );
    }

    #[rstest]
    #[case("bearerToken")]
    #[case("BearerToken")]
    #[case(r"bearer\u0054oken")]
    #[case("bearerTo\u{212a}en")]
    fn a_token_that_the_client_sent_is_removed_in_every_spelling(#[case] key: &str) {
        let text = format!(
            r#"{{"method":"tools/call","params":{{"arguments":{{"{key}":"a","n":1,"{key}":{{"b":2}}}}}}}}"#
        );
        assert_eq!(
            edited(&text, None),
            (
                r#"{"method":"tools/call","params":{"arguments":{"n":1}}}"#.to_owned(),
                true
            )
        );
        let (body, dropped) = edited(&text, Some("ours"));
        assert_eq!(
            body,
            r#"{"method":"tools/call","params":{"arguments":{"bearerToken":"ours","n":1}}}"#
        );
        assert!(dropped);
    }

    #[test]
    fn a_nested_argument_with_the_reserved_name_stays() {
        let text = r#"{"method":"tools/call","params":{"arguments":{"headers":{"bearerToken":"x"}}}}"#;
        assert_eq!(edited(text, None), (text.to_owned(), false));
    }

    #[rstest]
    #[case(r#"{"id":1,"method":"tools/list","params":{"arguments":{"bearerToken":"x"}}}"#)]
    #[case(r#"{"id":1,"result":{"bearerToken":"x"}}"#)]
    #[case(r#"{"method":"notifications/cancelled","params":[1]}"#)]
    fn other_messages_are_not_touched(#[case] text: &str) {
        assert_eq!(edited(text, Some("t")), (text.to_owned(), false));
        assert!(!message(text).is_tool_call());
    }

    #[test]
    fn values_that_are_not_unicode_stay() {
        let text = r#"{"method":"tools/call","params":{"arguments":{"a":"\ud800","bearerToken":"x"}}}"#;
        let expected = r#"{"method":"tools/call","params":{"arguments":{"a":"\ud800"}}}"#;
        assert_eq!(edited(text, None), (expected.to_owned(), true));
    }

    #[test]
    fn deeply_nested_arguments_are_edited_without_recursion() {
        let deep = format!(
            r#"{{"method":"tools/call","params":{{"arguments":{{"a":{}{}}}}}}}"#,
            "[".repeat(200_000),
            "]".repeat(200_000)
        );
        assert!(edited(&deep, Some("t")).0.contains("bearerToken"));
    }
}
