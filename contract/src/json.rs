//! Parses JSON that a client or a server sent, within limits that sidecar and server share.
//!
//! `serde_json::Value` treats an object whose first key is `$serde_json::private::RawValue` as embedded JSON.
//! It parses the text in that object with a new recursion limit (its feature `raw_value`, which `axum`'s
//! `json` turns on). A nested text of 88 KB overflows the stack, and one parser finds a message where another
//! finds none. Untrusted bytes are therefore never parsed into `Value` directly: [`parse`] builds the values,
//! and a parser that builds none calls [`has_reserved_key`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Prefix of the keys that `serde_json` reserves.
const RESERVED: &str = "$serde_json::private::";

/// Maximum depth of arrays and objects. It is below the limit of `serde_json`, which is 128, so that the
/// refusal can name the cause.
const MAX_DEPTH: usize = 100;

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text violates the grammar, or a value of it cannot be represented.
    #[error("the body is not JSON, or contains half a surrogate pair or a number beyond 64-bit floats")]
    NotJson,

    /// The text is nested deeper than [`MAX_DEPTH`].
    #[error("the JSON is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,

    /// The text has more values than the caller allows.
    #[error("the JSON has more than {0} values")]
    TooManyValues(usize),

    /// The text contains a key that `serde_json` reserves.
    #[error("a key begins with {RESERVED}, which is reserved; rename it")]
    ReservedKey,
}

/// A parsed value and its size.
#[derive(Debug, PartialEq)]
pub struct Parsed {
    /// The text's value.
    pub value: Value,

    /// The number of values in it: scalars, arrays and objects, itself included.
    pub values: usize,
}

/// Parses JSON of at most `most_values` values. Parsing ends at the first value beyond that. JSON inside a
/// string stays a string.
pub fn parse(json: &[u8], most_values: usize) -> Result<Parsed, JsonError> {
    let mut budget = Budget {
        values: 0,
        most_values,
        refused: None,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let seed = ValueSeed {
        budget: &mut budget,
        depth: 0,
    };
    let value = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match value {
        Ok(value) => Ok(Parsed {
            value,
            values: budget.values,
        }),
        Err(_) => Err(budget.refused.unwrap_or(JsonError::NotJson)),
    }
}

/// Returns true when a key in `json`, at any depth and in any spelling, is one that `serde_json` reserves.
/// `json` must be valid JSON. The search does not recurse and decodes no values.
pub fn has_reserved_key(json: &str) -> bool {
    // Without an escape every key is written as it is. Most messages need no further look.
    if !json.contains('\\') && !json.contains(RESERVED) {
        return false;
    }
    let mut rest = json;
    while let Some((_, string)) = rest.split_once('"') {
        let (string, behind) = string.split_at(end_of_string(string));
        rest = behind.strip_prefix('"').unwrap_or_default();
        // Outside of strings, a colon only follows a key.
        if rest.trim_start().starts_with(':') && decode(string).starts_with(RESERVED) {
            return true;
        }
    }
    false
}

/// Returns the end of the string whose opening quotation mark has been read.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.unwrap_or(text.len())
}

/// Returns the text of a string without its quotation marks. A string that is not Unicode (half of a
/// surrogate pair) stays as it is, because no parser that decodes keys can match it.
fn decode(string: &str) -> Cow<'_, str> {
    if !string.contains('\\') {
        return Cow::Borrowed(string);
    }
    serde_json::from_str(&format!("\"{string}\"")).map_or(Cow::Borrowed(string), Cow::Owned)
}

/// The number of values read so far, and the error that ended the parsing.
struct Budget {
    values: usize,
    most_values: usize,
    refused: Option<JsonError>,
}

/// Reads the next value, which is nested in `depth` arrays and objects.
struct ValueSeed<'r> {
    budget: &'r mut Budget,
    depth: usize,
}

impl ValueSeed<'_> {
    fn refuse<E: serde::de::Error>(self, error: JsonError) -> E {
        self.budget.refused = Some(error);
        E::custom(error)
    }

    /// Returns the seed for the content of an array or object.
    fn enter<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse(JsonError::TooDeep));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    fn reborrow(&mut self) -> ValueSeed<'_> {
        ValueSeed {
            budget: self.budget,
            depth: self.depth,
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.budget.values += 1;
        if self.budget.values > self.budget.most_values {
            let most = self.budget.most_values;
            return Err(self.refuse(JsonError::TooManyValues(most)));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut inside = self.enter()?;
        let mut array = Vec::new();
        while let Some(value) = items.next_element_seed(inside.reborrow())? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut inside = self.enter()?;
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if key.starts_with(RESERVED) {
                return Err(inside.refuse(JsonError::ReservedKey));
            }
            object.insert(key, members.next_value_seed(inside.reborrow())?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "$serde_json::private::RawValue";

    fn error(json: &str) -> Option<JsonError> {
        parse(json.as_bytes(), 1000).err()
    }

    #[test]
    fn reads_the_same_values_as_serde_json() {
        for text in [
            "null",
            " true ",
            "-7",
            "18446744073709551615",
            "1.5e3",
            r#""\u00e4\n""#,
            "[]",
            "{}",
            r#"{"b":[1,{"a":null}],"a":"x","b":[2]}"#,
        ] {
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(parse(text.as_bytes(), 1000).unwrap().value, expected, "{text}");
        }
        for text in ["", "{", "1 2", "[1,]", "1e400", r#""\ud800""#, "\u{feff}{}"] {
            assert_eq!(error(text), Some(JsonError::NotJson), "{text}");
        }
        assert_eq!(parse(b"\"\xff\"", 1000), Err(JsonError::NotJson));
    }

    #[test]
    fn counts_values_and_reads_no_more_than_allowed() {
        for (text, values) in [("7", 1), ("[]", 1), (r#"[{"":0},{"":0}]"#, 5), (r#""[[[[""#, 1)] {
            assert_eq!(parse(text.as_bytes(), values).unwrap().values, values, "{text}");
            let too_few = values - 1;
            assert_eq!(
                parse(text.as_bytes(), too_few),
                Err(JsonError::TooManyValues(too_few)),
                "{text}"
            );
        }
    }

    #[test]
    fn limits_the_depth_of_arrays_and_objects() {
        let nested =
            |open: &str, close: &str, depth| format!("{}0{}", open.repeat(depth), close.repeat(depth));
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"[{"a":"#, "}]")] {
            let levels = if open.len() > 5 { 2 } else { 1 };
            assert_eq!(error(&nested(open, close, MAX_DEPTH / levels)), None, "{open}");
            for depth in [MAX_DEPTH / levels + 1, 100_000] {
                assert_eq!(
                    error(&nested(open, close, depth)),
                    Some(JsonError::TooDeep),
                    "{open}"
                );
            }
        }
    }

    #[test]
    fn a_reserved_key_is_found_at_any_depth_and_in_any_spelling_by_both() {
        for text in [
            format!(r#"{{"{KEY}":"1"}}"#),
            format!(r#"{{ "a" : 1 , "{KEY}" : "1" }}"#),
            format!(r#"[[{{"a":[{{"{KEY}":7}}]}}]]"#),
            format!(r#"{{"a\"":"\\","{KEY}"{}:1}}"#, " \n".repeat(100)),
            r#"{"\u0024serde_json::private::RawValue":"1"}"#.to_owned(),
            r#"{"\u0024\u0073erde_json\u003A:private::Number":"1"}"#.to_owned(),
        ] {
            assert_eq!(error(&text), Some(JsonError::ReservedKey), "{text}");
            assert!(has_reserved_key(&text), "{text}");
        }
    }

    #[test]
    fn a_value_may_contain_a_reserved_key() {
        for text in [
            format!(r#""{KEY}""#),
            format!(r#"{{"a":"{KEY}","b":["{KEY}","x"]}}"#),
            format!(r#"{{"a":"{{\"{KEY}\":\"1\"}}"}}"#),
            format!(r#"{{"a{KEY}":"\\"}}"#),
            r#"["\\\"",":"]"#.to_owned(),
        ] {
            assert_eq!(error(&text), None, "{text}");
            assert!(!has_reserved_key(&text), "{text}");
        }
    }

    #[test]
    fn keys_are_found_at_any_depth_and_beside_text_that_is_not_unicode() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert!(!has_reserved_key(&deep("7")));
        assert!(has_reserved_key(&deep(&format!(r#"{{"{KEY}":7}}"#))));
        assert!(!has_reserved_key(r#"{"a":"\ud800","\udc00":1}"#));
    }
}
