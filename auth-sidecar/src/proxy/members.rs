//! Reads a JSON object as a list of its members, in their order and with the text of their values.
//!
//! The proxy changes one member of a body and leaves the rest unchanged byte for byte: numbers beyond 64 bits,
//! repeated keys in other objects, and the order of members, which a server may show to a model.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Maximum number of members of one object. A member needs many times the memory of its text. No known tool has
/// that many arguments.
pub(super) const MAX_MEMBERS: usize = 1024;

/// The members of an object, including those with the same key.
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

/// A key. It is copied only if it contains an escape.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    if members.len() == MAX_MEMBERS {
                        return Err(A::Error::custom("too many members"));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// Returns the members of `raw` if it is an object of at most [`MAX_MEMBERS`] members whose keys are Unicode.
pub(super) fn of(raw: &RawValue) -> Option<Members<'_>> {
    serde_json::from_str(raw.get()).ok()
}

/// True if `raw` is an object.
pub(super) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// True for a key that is `name` but for its case. Servers that compare without case (Go's `encoding/json`, .NET with its usual
/// options) treat both as one. `name` is ASCII.
pub(super) fn is_same(key: &str, name: &str) -> bool {
    if key.is_ascii() {
        return key.eq_ignore_ascii_case(name);
    }
    folded(key) == name.to_ascii_lowercase()
}

/// Returns the key without its case. The conversion to upper case comes first, because only it turns the long s and the Kelvin
/// sign into `S` and `K`.
fn folded(key: &str) -> String {
    key.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_repetition_and_the_text_of_values() {
        let text = r#"{"b":1.00000000000000000001,"a":{"x": [ ]},"b":"\u0041"}"#;
        let members: Members<'_> = serde_json::from_str(text).unwrap();
        let shown: Vec<_> = members
            .0
            .iter()
            .map(|(key, value)| (&**key, value.get()))
            .collect();
        assert_eq!(
            shown,
            [
                ("b", "1.00000000000000000001"),
                ("a", r#"{"x": [ ]}"#),
                ("b", r#""\u0041""#)
            ]
        );
    }

    #[test]
    fn keys_that_other_parsers_treat_as_equal_are_the_same() {
        for key in ["bearerToken", "BEARERTOKEN", "bearerTo\u{212a}en"] {
            assert!(is_same(key, "bearerToken"), "{key}");
        }
        assert!(is_same("param\u{17f}", "params"));
        for other in ["bearer_token", "bearerTokens", "b\u{e4}rerToken"] {
            assert!(!is_same(other, "bearerToken"), "{other}");
        }
    }
}
