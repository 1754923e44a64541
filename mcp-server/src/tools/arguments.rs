//! Reading what a model sent, with answers that tell it what to send instead. Pure.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// Continuation tokens are opaque, but not endless.
const LONGEST_TEXT: usize = 1_000;

/// What is wrong with the arguments; the model reads it and tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadInput(pub(crate) String);

/// The arguments of one call.
pub(crate) struct Arguments {
    values: Map<String, Value>,
}

impl Arguments {
    /// Refuses arguments that the tool does not have: a misspelt one would silently change the question.
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

    /// Text; absent, null and empty are `None`.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, BadInput> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() > LONGEST_TEXT => {
                Err(BadInput(format!("{name} is longer than {LONGEST_TEXT} bytes")))
            }
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                Err(BadInput(format!("{name} must not contain control characters")))
            }
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(_) => Err(BadInput(format!("{name} must be a string"))),
        }
    }

    /// A whole number, also when written as text.
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

    /// The id of a pipeline or run: a positive 32-bit number.
    pub(crate) fn id(&self, name: &str) -> Result<Option<i64>, BadInput> {
        self.integer(name, 1..=i64::from(i32::MAX))
    }

    /// An id that must be there; `where_from` tells where the model finds it.
    pub(crate) fn required_id(&self, name: &str, where_from: &str) -> Result<i64, BadInput> {
        self.id(name)?
            .ok_or_else(|| BadInput(format!("{name} is missing: {where_from}")))
    }

    /// An object; absent and null are empty.
    pub(crate) fn object(&self, name: &str) -> Result<Map<String, Value>, BadInput> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(_) => Err(BadInput(format!("{name} must be an object of names and values"))),
        }
    }
}

/// `5.0` is 5 to many clients.
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
