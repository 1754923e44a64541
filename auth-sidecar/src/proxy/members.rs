//! A JSON object as its members in their order, values untouched.
//!
//! The proxy changes one member of a body and must leave the rest byte for byte: numbers beyond 64 bits,
//! repeated keys elsewhere, the order that a server shows to a model.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Members that an object may have at most. Each takes memory many times its text; no tool has so many.
pub(super) const MOST: usize = 1024;

/// The members of an object. Repeated keys are all here.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

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
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    if members.len() == MOST {
                        return Err(A::Error::custom("too many members"));
                    }
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// The members of `raw`, if it is an object whose keys are Unicode and not more than [`MOST`].
pub(super) fn of(raw: &RawValue) -> Option<Members<'_>> {
    serde_json::from_str(raw.get()).ok()
}

/// Two keys with the same folding are one key to servers that compare without case (Go's `encoding/json`,
/// .NET with its usual options). Upper case first: the long s and the Kelvin sign become `S` and `K` only so.
pub(super) fn folded(key: &str) -> String {
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
            .map(|(key, value)| (key.as_str(), value.get()))
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
    fn folds_what_other_parsers_take_for_the_same() {
        for key in ["bearerToken", "BEARERTOKEN", "bearerTo\u{212a}en"] {
            assert_eq!(folded(key), "bearertoken");
        }
        assert_eq!(folded("param\u{17f}"), "params");
        assert_ne!(folded("bearer_token"), "bearertoken");
    }
}
