//! The one place of a message that the proxy changes.

use std::ops::Range;

use axum::body::Bytes;
use behalf_contract::headers::BEARER_ARGUMENT;
use behalf_entra::Secret;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::body::{BodyError, is_object};
use super::members;

/// Where the arguments of `tools/call` stand in the body.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Not a `tools/call`.
    None,

    /// No `params`: this is the offset behind the message's brace.
    NoParams(usize),

    /// `params` without usable `arguments`: the offset behind its brace, and whether it has members.
    NoArguments { behind_brace: usize, has_members: bool },

    /// The arguments, an object or `null`.
    Arguments {
        range: Range<usize>,
        /// Keys, and where their values stand, without the reserved one.
        kept: Vec<(String, Range<usize>)>,
        /// The reserved one was there.
        dropped: bool,
    },
}

/// A body ready for the server.
#[derive(Debug)]
pub(super) struct Edited {
    /// The bytes to send.
    pub(super) body: Bytes,

    /// The client had sent the reserved argument itself.
    pub(super) dropped: bool,
}

impl Place {
    /// Drops the client's own reserved argument, and puts `token` there if there is one. Method, name,
    /// `_meta` and every other argument stay as they are: mirrored headers must still agree with them.
    pub(super) fn edit(&self, body: Bytes, token: Option<&Secret>) -> Edited {
        let member = token.map(|token| {
            // A JSON string of a token never fails to encode; an empty one is refused by the server.
            let value =
                Zeroizing::new(serde_json::to_string(token.expose()).unwrap_or_else(|_| "\"\"".to_owned()));
            Zeroizing::new(format!("\"{BEARER_ARGUMENT}\":{}", value.as_str()))
        });
        let member = member.as_ref().map(|member| member.as_str());
        match self {
            Self::None => Edited { body, dropped: false },
            Self::NoParams(at) => {
                // A message with a method has members, so a comma follows.
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

/// Where `arguments` and their members stand in `text`.
pub(super) fn place_of(text: &str, arguments: &RawValue) -> Result<Place, BodyError> {
    let fields = if is_object(arguments) {
        members::of(arguments).ok_or(BodyError::Params)?.0
    } else {
        Vec::new()
    };
    let before = fields.len();
    let reserved = members::folded(BEARER_ARGUMENT);
    let kept: Vec<_> = fields
        .into_iter()
        .filter(|(key, _)| members::folded(key) != reserved)
        .map(|(key, value)| (key, range(text, value)))
        .collect();
    Ok(Place::Arguments {
        range: range(text, arguments),
        dropped: kept.len() < before,
        kept,
    })
}

/// The body with new arguments in their place. Written once: bodies are large, and copies of a token too many.
fn with_arguments(
    body: &Bytes,
    range: &Range<usize>,
    kept: &[(String, Range<usize>)],
    member: Option<&str>,
) -> Bytes {
    // Parts of what was read as text already.
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

/// The body with `new` at `at`.
fn insert(body: &Bytes, at: usize, new: Option<String>) -> Bytes {
    let Some(new) = new.map(Zeroizing::new) else {
        return body.clone();
    };
    match body.split_at_checked(at) {
        Some((head, tail)) => [head, new.as_bytes(), tail].concat().into(),
        None => body.clone(),
    }
}

/// Where `raw` stands in `text`, of which it is a part.
fn range(text: &str, raw: &RawValue) -> Range<usize> {
    let start = offset(text, raw);
    start..start + raw.get().len()
}

/// Where `raw` begins in `text`, of which it is a part.
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
    fn a_clients_own_token_is_dropped_in_every_spelling(#[case] key: &str) {
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
    fn an_argument_inside_another_is_the_tools_own() {
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
    fn values_that_are_not_unicode_are_the_tools_own() {
        let text = r#"{"method":"tools/call","params":{"arguments":{"a":"\ud800","bearerToken":"x"}}}"#;
        let expected = r#"{"method":"tools/call","params":{"arguments":{"a":"\ud800"}}}"#;
        assert_eq!(edited(text, None), (expected.to_owned(), true));
    }

    #[test]
    fn deep_nesting_is_no_danger() {
        let deep = format!(
            r#"{{"method":"tools/call","params":{{"arguments":{{"a":{}{}}}}}}}"#,
            "[".repeat(200_000),
            "]".repeat(200_000)
        );
        assert!(edited(&deep, Some("t")).0.contains("bearerToken"));
    }
}
