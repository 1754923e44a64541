//! One person at one server: the text that shows the calls with their answers and durations.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most lines of one answer that are shown.
const LINES: usize = 8;

/// The widest line that is shown, in characters.
const WIDTH: usize = 110;

/// One person at one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignIn {
    /// The `McpServer`.
    pub server: String,

    /// `preferred_username` of the person.
    pub user: String,

    /// `oid` of the person.
    pub object_id: String,

    /// The steps of the browser.
    pub steps: Vec<String>,

    /// From the first request to the redeemed code.
    pub seconds: f64,

    /// The tools the server listed.
    pub tools: Vec<String>,

    /// The calls that followed.
    pub calls: Vec<Call>,
}

/// One tool call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The tool.
    pub tool: String,

    /// Its arguments.
    pub arguments: Value,

    /// Whether the tool carried out the call.
    pub outcome: Outcome,

    /// The text of the answer.
    pub text: String,

    /// Milliseconds from request to answer.
    pub milliseconds: u64,
}

/// Whether the tool carried out the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It did.
    Done,

    /// It said why not (`isError`).
    Refused,
}

impl fmt::Display for SignIn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "  {} signs in ({:.1} s)", self.user, self.seconds)?;
        for step in &self.steps {
            writeln!(out, "    - {}", without_parameters(step))?;
        }
        writeln!(out, "    tools: {}", self.tools.join(", "))?;
        for call in &self.calls {
            write!(out, "{call}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.outcome {
            Outcome::Done => "",
            Outcome::Refused => ", refused",
        };
        writeln!(
            out,
            "    > {} {} ({} ms{word})",
            self.tool, self.arguments, self.milliseconds
        )?;
        let lines = lines(&self.text);
        for line in lines.iter().take(LINES) {
            writeln!(out, "        {}", shorten(line))?;
        }
        if lines.len() > LINES {
            writeln!(out, "        ... {} more lines", lines.len() - LINES)?;
        }
        Ok(())
    }
}

/// Which access token a second call used, in words.
pub(super) fn same_or_another(is_same: bool) -> &'static str {
    if is_same { "the same" } else { "another" }
}

/// A step without the names of the parameters, which are needed only to debug.
fn without_parameters(step: &str) -> String {
    let bare = |word: &str| {
        word.split_once('?')
            .map_or_else(|| word.to_owned(), |(path, _)| path.to_owned())
    };
    let word = |word: &str| {
        if word.starts_with("http") {
            bare(word)
        } else {
            word.to_owned()
        }
    };
    step.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The lines of an answer: JSON as one line for each member and each element of a list, text as it is.
fn lines(text: &str) -> Vec<String> {
    let Ok(Value::Object(members)) = serde_json::from_str(text) else {
        return text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(str::to_owned)
            .collect();
    };
    let mut lines = Vec::new();
    for (name, value) in &members {
        match value {
            Value::Array(elements) => {
                lines.push(format!("{name} ({})", elements.len()));
                lines.extend(elements.iter().map(|element| format!("  {}", flat(element))));
            }
            other => lines.push(format!("{name}: {}", flat(other))),
        }
    }
    lines
}

/// The scalars of a value on one line.
fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_object() && !value.is_array() && !value.is_null())
            .map(|(name, value)| format!("{name} {}", flat(value)))
            .collect::<Vec<_>>()
            .join(", "),
        Value::Array(elements) => format!("{} elements", elements.len()),
        other => other.to_string(),
    }
}

fn shorten(line: &str) -> String {
    let mut short: String = line.chars().take(WIDTH).collect();
    if line.chars().count() > WIDTH {
        let _ = write!(short, "...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_shown_as_readable_lines() {
        let text =
            r#"{"project":"shop","runs":[{"id":638,"result":"failed","links":{"web":"x"}},{"id":637}]}"#;
        assert_eq!(
            lines(text),
            ["project: shop", "runs (2)", "  id 638, result failed", "  id 637"]
        );
    }

    #[test]
    fn steps_are_shown_without_parameter_names() {
        let step = "GET http://localhost:1/authorize?state&scope -> 200, page \"Allow?\"";
        assert_eq!(
            without_parameters(step),
            "GET http://localhost:1/authorize -> 200, page \"Allow?\""
        );
    }

    #[test]
    fn a_call_shows_tool_arguments_time_and_the_first_lines() {
        let text = (1..=20)
            .map(|line| format!("line {line} {}", "x".repeat(200)))
            .collect::<Vec<_>>()
            .join("\n");
        let call = Call {
            tool: "list_pipeline_runs".into(),
            arguments: serde_json::json!({"top": 3}),
            outcome: Outcome::Refused,
            text,
            milliseconds: 12,
        };
        let shown = call.to_string();
        assert!(
            shown.contains(r#"list_pipeline_runs {"top":3} (12 ms, refused)"#),
            "{shown}"
        );
        assert!(shown.contains("line 8 ") && !shown.contains("line 9 "), "{shown}");
        assert!(shown.contains("... 12 more lines"), "{shown}");
        assert!(shown.lines().all(|line| line.len() < 130), "{shown}");
    }
}
