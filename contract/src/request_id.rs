//! The id of a JSON-RPC request.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

/// Maximum length of an id in bytes. Every refusal echoes the id, and no memory is charged for the answer.
const MAX_LENGTH: usize = 256;

/// 2^53. Above it, not every integer is an `f64`.
const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// The id of a JSON-RPC request. MCP allows strings and integers, but no `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId {
    /// An integer of 64 bits. `1.0` counts as one.
    Integer(i64),

    /// A text of at most [`MAX_LENGTH`] bytes.
    Text(String),
}

impl RequestId {
    /// Returns the id of a refused request, for the error's `id`. Returns `None` if no id can be read or
    /// there is no `method`, as in a client's response: such an error has no `id` (MCP 2026-07-28, Error
    /// Responses).
    pub fn of_refused(message: &[u8]) -> Option<Self> {
        serde_json::from_slice(message)
            .ok()
            .and_then(|Envelope { id, has_method }| id.filter(|_| has_method))
    }
}

/// The members of a refused message that decide its id. All others are skipped without recursion.
struct Envelope {
    id: Option<RequestId>,
    has_method: bool,
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Envelope;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON-RPC message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Envelope, A::Error> {
                let (mut id, mut has_method) = (None, false);
                while let Some(name) = members.next_key::<Cow<'de, str>>()? {
                    if name == "id" {
                        if id.replace(members.next_value()?).is_some() {
                            return Err(A::Error::duplicate_field("id"));
                        }
                    } else {
                        has_method |= name == "method";
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Envelope { id, has_method })
            }
        }

        deserializer.deserialize_map(Members)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(id) => serializer.serialize_i64(*id),
            Self::Text(id) => serializer.serialize_str(id),
        }
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringOrInteger;

        impl Visitor<'_> for StringOrInteger {
            type Value = RequestId;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "an integer or a string of at most {MAX_LENGTH} bytes")
            }

            fn visit_str<E: Error>(self, id: &str) -> Result<RequestId, E> {
                if id.len() > MAX_LENGTH {
                    return Err(E::invalid_length(id.len(), &self));
                }
                Ok(RequestId::Text(id.to_owned()))
            }

            fn visit_i64<E>(self, id: i64) -> Result<RequestId, E> {
                Ok(RequestId::Integer(id))
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<RequestId, E> {
                i64::try_from(id)
                    .map(RequestId::Integer)
                    .map_err(|_| E::invalid_value(Unexpected::Unsigned(id), &self))
            }

            fn visit_f64<E: Error>(self, id: f64) -> Result<RequestId, E> {
                let is_integer = id.fract() == 0.0 && id.abs() < MAX_EXACT_INTEGER;
                // A number without a fraction is read as an integer of 64 bits.
                let integer = is_integer.then(|| format!("{id:.0}").parse().ok()).flatten();
                integer
                    .map(RequestId::Integer)
                    .ok_or_else(|| E::invalid_value(Unexpected::Float(id), &self))
            }
        }

        deserializer.deserialize_any(StringOrInteger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(json: &str) -> Option<RequestId> {
        serde_json::from_str(json).ok()
    }

    #[test]
    fn an_id_is_a_string_or_an_integer() {
        for (json, integer) in [
            ("7", 7),
            ("-1", -1),
            ("1.0", 1),
            ("1e2", 100),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(id(json), Some(RequestId::Integer(integer)), "{json}");
        }
        assert_eq!(id(r#""\u0041""#), Some(RequestId::Text("A".to_owned())));
        for json in [
            "null",
            "true",
            "1.5",
            "1e300",
            "9223372036854775808",
            "9007199254740993.0",
            "{}",
            "[1]",
            r#""\ud800""#,
        ] {
            assert_eq!(id(json), None, "{json}");
        }
    }

    #[test]
    fn a_text_id_has_at_most_256_bytes() {
        let text = |length: usize| id(&format!("\"{}\"", "x".repeat(length)));
        assert_eq!(text(MAX_LENGTH), Some(RequestId::Text("x".repeat(MAX_LENGTH))));
        assert_eq!(text(MAX_LENGTH + 1), None);
    }

    #[test]
    fn the_id_of_a_refused_message_is_read() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let message = format!(r#"{{"method":7,"params":{deep},"id":"a"}}"#);
        let found = RequestId::of_refused(message.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&found).unwrap(), r#""a""#);
        let twice = br#"{"method":"ping","id":1,"method":"tools/call"}"#;
        assert_eq!(RequestId::of_refused(twice), Some(RequestId::Integer(1)));
        for unreadable in [
            "",
            "{",
            "[]",
            r#"[7,"ping"]"#,
            r#"{"id":3,"result":{}}"#,
            r#"{"method":"ping","id":1,"id":2}"#,
            r#"{"method":"ping","id":null}"#,
            r#"{"method":"ping","id":{}}"#,
            "{}",
        ] {
            assert_eq!(RequestId::of_refused(unreadable.as_bytes()), None, "{unreadable}");
        }
    }
}
