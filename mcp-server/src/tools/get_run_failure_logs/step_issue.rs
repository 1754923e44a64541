//! An error or warning of a failed step, as the tool returns it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::azure_devops::scalar::Scalar;
use crate::azure_devops::wire::{Issue, camel};
use crate::redact;
use crate::tools::fields::name;

/// Maximum length of a message in characters.
const MAX_MESSAGE_LENGTH: usize = 1_000;

/// An error or warning that a step reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct StepIssue {
    /// error or warning.
    pub(crate) severity: String,

    /// Text of the error or warning.
    pub(crate) message: String,

    /// The source file that the issue names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,

    /// The line in that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<String>,

    /// The tool's error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,

    /// The line in the step's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_line: Option<String>,
}

impl StepIssue {
    pub(super) fn new(issue: &Issue) -> Self {
        let data = |key: &str| {
            let value = issue
                .data
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key))?
                .1;
            let text = match value {
                Scalar::Text(text) => text.clone(),
                Scalar::Number(number) => number.to_string(),
                Scalar::Other => return None,
            };
            name(Some(&text))
        };
        let message = issue.message.as_deref().unwrap_or_default();
        let message = redact::lines(redact::cut(message, MAX_MESSAGE_LENGTH).lines()).join("\n");
        Self {
            severity: camel(issue.kind.as_deref().unwrap_or("error")),
            message,
            file: data("sourcepath"),
            line: data("linenumber"),
            code: data("code"),
            log_line: data("logFileLineNumber"),
        }
    }
}
