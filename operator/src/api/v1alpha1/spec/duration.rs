//! Durations as users write them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::v1alpha1::schema::{matches, rule};

const PATTERN: &str = "^([0-9]{1,5}(h|m|s)){1,3}$";

/// A duration as a user writes it: whole hours, minutes and seconds, for example `1h30m`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationText(String);

impl DurationText {
    /// Accepts any text. [`DurationText::seconds`] validates it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the duration in seconds, or `None` if the text is no duration.
    pub fn seconds(&self) -> Option<u64> {
        let mut total: u64 = 0;
        let mut parts = 0;
        let mut digits = String::new();
        for character in self.0.chars() {
            let unit = match character {
                '0'..='9' => {
                    digits.push(character);
                    continue;
                }
                'h' => 3600,
                'm' => 60,
                's' => 1,
                _ => return None,
            };
            parts += 1;
            if digits.is_empty() || digits.len() > 5 || parts > 3 {
                return None;
            }
            let amount: u64 = digits.parse().ok()?;
            total += amount * unit;
            digits.clear();
        }
        (digits.is_empty() && parts > 0).then_some(total)
    }
}

impl std::fmt::Display for DurationText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "maxLength": 18,
            "x-kubernetes-validations": [matches(
                PATTERN,
                "must be a duration in hours, minutes and seconds, for example 90s, 15m or 1h30m",
            )],
        })
    }
}

/// Returns a rule that compares durations. It leaves a field that contains none to the rule of that field: CEL would answer with
/// an error of its parser.
pub(super) fn duration_rule(fields: &[&str], condition: &str, message: &str) -> Value {
    let is_none = |field: &&str| format!("!self.{field}.matches(r'{PATTERN}') || ");
    let one_is_none = fields.iter().map(is_none).collect::<Vec<_>>().concat();
    rule(&format!("{one_is_none}({condition})"), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_hours_minutes_and_seconds() {
        for (text, seconds) in [
            ("1h", 3600),
            ("1h30m", 5400),
            ("120s", 120),
            ("99999h", 359_996_400),
            ("0s", 0),
        ] {
            assert_eq!(DurationText::new(text).seconds(), Some(seconds), "{text}");
        }
    }

    #[test]
    fn refuses_a_text_that_the_schema_refuses() {
        for text in [
            "", "1", "h", "1d", "-1h", "1.5h", "1h2", "100000s", "1h1h1h1h", "1 h",
        ] {
            assert_eq!(DurationText::new(text).seconds(), None, "{text}");
        }
    }
}
