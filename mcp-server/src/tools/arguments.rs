//! Reads the arguments of a call. Each error says what the model has to send instead. Does no I/O.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// Maximum length of a string argument in bytes. Continuation tokens are the longest.
const MAX_TEXT_LENGTH: usize = 1_000;

/// Why arguments are refused, for the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadInput(pub(crate) String);

/// The arguments of one call.
pub(crate) struct Arguments {
    values: Map<String, Value>,
}

impl Arguments {
    /// Refuses arguments that the tool does not have. A misspelt one would silently change the call.
    pub(crate) fn new(values: Map<String, Value>, known: &[&str]) -> Result<Self, BadInput> {
        match values.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(Self { values }),
            Some(unknown) => {
                let unknown: String = unknown.chars().take(60).collect();
                Err(BadInput(format!(
                    "there is no argument {unknown:?}; this tool takes {}",
                    known.join(", ")
                )))
            }
        }
    }

    /// Returns a string without spaces around it. An absent, null or empty one is `None`.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, BadInput> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() > MAX_TEXT_LENGTH => {
                Err(BadInput(format!("{name} is longer than {MAX_TEXT_LENGTH} bytes")))
            }
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                Err(BadInput(format!("{name} must not contain control characters")))
            }
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(_) => Err(BadInput(format!("{name} must be a string"))),
        }
    }

    /// Returns an integer, which may be written as a string.
    pub(crate) fn integer(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, BadInput> {
        let number = match self.values.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => whole(number),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match number {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(BadInput(format!(
                "{name} must be a whole number from {} to {}",
                range.start(),
                range.end()
            ))),
        }
    }

    /// Returns the id of a pipeline or run: a positive 32-bit integer.
    pub(crate) fn id(&self, name: &str) -> Result<Option<i64>, BadInput> {
        self.integer(name, 1..=i64::from(i32::MAX))
    }

    /// Returns a required id. `source` tells the model where to find it.
    pub(crate) fn required_id(&self, name: &str, source: &str) -> Result<i64, BadInput> {
        self.id(name)?
            .ok_or_else(|| BadInput(format!("{name} is missing: {source}")))
    }

    /// Returns an object. An absent or null one is empty.
    pub(crate) fn object(&self, name: &str) -> Result<Map<String, Value>, BadInput> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(_) => Err(BadInput(format!("{name} must be an object of names and values"))),
        }
    }
}

/// Reads an integer. Many clients write 5 as `5.0`.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
        format!("{float:.0}").parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn arguments(values: Value) -> Arguments {
        let Value::Object(values) = values else {
            panic!("not an object")
        };
        Arguments::new(values, &["n", "t", "o"]).unwrap()
    }

    #[rstest]
    #[case(json!({"n": 5}), Ok(Some(5)))]
    #[case(json!({"n": "5"}), Ok(Some(5)))]
    #[case(json!({"n": 5.0}), Ok(Some(5)))]
    #[case(json!({"n": null}), Ok(None))]
    #[case(json!({}), Ok(None))]
    #[case(json!({"n": 5.5}), Err(()))]
    #[case(json!({"n": 0}), Err(()))]
    #[case(json!({"n": 51}), Err(()))]
    #[case(json!({"n": 1e300}), Err(()))]
    #[case(json!({"n": "five"}), Err(()))]
    #[case(json!({"n": [5]}), Err(()))]
    fn reads_whole_numbers(#[case] values: Value, #[case] expected: Result<Option<i64>, ()>) {
        let read = arguments(values).integer("n", 1..=50);
        assert_eq!(read.clone().map_err(|_| ()), expected);
        if let Err(error) = read {
            assert_eq!(error.to_string(), "n must be a whole number from 1 to 50");
        }
    }

    #[test]
    fn an_unknown_argument_is_refused_with_the_known_ones() {
        let Value::Object(values) = json!({"projectName": "shop"}) else {
            unreachable!()
        };
        let error = Arguments::new(values, &["top", "project"]).err().unwrap();
        assert_eq!(
            error.to_string(),
            "there is no argument \"projectName\"; this tool takes top, project"
        );
    }

    #[test]
    fn text_is_trimmed_and_bounded() {
        assert_eq!(arguments(json!({"t": "  main "})).text("t"), Ok(Some("main")));
        assert_eq!(arguments(json!({"t": ""})).text("t"), Ok(None));
        assert!(arguments(json!({"t": 1})).text("t").is_err());
        assert!(arguments(json!({"t": "a\nb"})).text("t").is_err());
        assert!(arguments(json!({"t": "x".repeat(1_001)})).text("t").is_err());
    }

    #[test]
    fn a_missing_id_says_where_to_find_it() {
        let error = arguments(json!({}))
            .required_id("n", "list_pipeline_runs shows it")
            .unwrap_err();
        assert_eq!(error.to_string(), "n is missing: list_pipeline_runs shows it");
    }
}
