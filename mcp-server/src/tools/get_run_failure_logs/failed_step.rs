//! A failed step of a run, as the tool returns it.

use schemars::JsonSchema;
use serde::Serialize;

use super::failed_steps::Step;
use super::step_issue::StepIssue;

/// A task that failed, or a job or stage that failed without a failed task.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FailedStep {
    /// The stage's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<String>,

    /// The job's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<String>,

    /// The task's name; absent when no task of the job failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,

    /// failed or abandoned.
    pub(crate) result: String,

    /// The attempt that failed. The first is 1.
    pub(crate) attempt: i64,

    /// True when there is a later attempt.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) retried: bool,

    /// Errors and warnings that the step reported.
    pub(crate) issues: Vec<StepIssue>,

    /// The last lines of its log, between markers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_tail: Option<String>,

    /// Number of lines of the whole log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_lines: Option<i64>,

    /// Why there is no log tail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_note: Option<String>,
}

impl FailedStep {
    /// Builds the answer without the log.
    pub(super) fn new(step: &Step, log_lines: Option<i64>) -> Self {
        Self {
            stage: step.stage.clone(),
            job: step.job.clone(),
            task: step.task.clone(),
            result: step.result.clone(),
            attempt: step.attempt,
            retried: step.retried,
            issues: step.issues.clone(),
            log_tail: None,
            log_lines,
            log_note: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
