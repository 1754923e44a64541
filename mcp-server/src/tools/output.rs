//! What the tools answer. Each type is the output schema of a tool; absent means unknown or not applicable.

use schemars::JsonSchema;
use serde::Serialize;

/// The answer of `list_pipeline_runs`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PipelineRuns {
    /// The project that was asked.
    pub(crate) project: String,

    /// Runs, the one queued last first.
    pub(crate) runs: Vec<PipelineRun>,

    /// There are older runs: call again with the same arguments and this `continuation_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) continuation_token: Option<String>,

    /// What to know about this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// A run of a pipeline.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct PipelineRun {
    /// The run's id, also known as build id.
    pub(crate) run_id: i64,

    /// The run's number, as people see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<String>,

    /// The pipeline's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pipeline_id: Option<i64>,

    /// The pipeline's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pipeline: Option<String>,

    /// completed, inProgress, cancelling, notStarted or postponed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,

    /// succeeded, partiallySucceeded, failed or canceled; absent while the run is not completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<String>,

    /// The branch without `refs/heads/`, or the full name of another reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) branch: Option<String>,

    /// The commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,

    /// Why it ran: manual, individualCI, schedule, pullRequest...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,

    /// Who it ran for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requested_for: Option<String>,

    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued_at: Option<String>,

    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<String>,

    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finished_at: Option<String>,

    /// From start to finish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_seconds: Option<i64>,

    /// The run in the browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}

/// The answer of `get_run_failure_logs`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunFailures {
    /// The project that was asked.
    pub(crate) project: String,

    /// The run.
    pub(crate) run: PipelineRun,

    /// One sentence about the outcome.
    pub(crate) summary: String,

    /// Why the run could not start, for example an error in the pipeline's file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) validation_errors: Vec<String>,

    /// What failed, in the order of the run.
    pub(crate) failures: Vec<FailedStep>,

    /// What waits for an approval.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pending_approvals: Vec<String>,

    /// What was left out of this answer, and how much.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<String>,

    /// How to read messages and logs.
    pub(crate) notice: String,
}

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

    /// The attempt it failed in; the first is 1.
    pub(crate) attempt: i64,

    /// True when there is a later attempt.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) retried: bool,

    /// Errors and warnings it reported.
    pub(crate) issues: Vec<StepIssue>,

    /// The last lines of its log, between markers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_tail: Option<String>,

    /// Lines in the whole log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_lines: Option<i64>,

    /// Why there is no log tail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_note: Option<String>,
}

/// An error or warning that a step reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct StepIssue {
    /// error or warning.
    pub(crate) severity: String,

    /// The message.
    pub(crate) message: String,

    /// The source file it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,

    /// The line in that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<String>,

    /// The tool's error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,

    /// The line of the step's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_line: Option<String>,
}

/// The answer of `list_deployments`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeploymentList {
    /// The project that was asked.
    pub(crate) project: String,

    /// Deployments of classic releases, newest first.
    pub(crate) deployments: Vec<ClassicDeployment>,

    /// There are older ones: call again with the same arguments and this `continuation_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) continuation_token: Option<String>,

    /// What to know about this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// A deployment of a classic release to an environment.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ClassicDeployment {
    /// The deployment's id.
    pub(crate) deployment_id: i64,

    /// The environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<String>,

    /// notDeployed, inProgress, succeeded, partiallySucceeded or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,

    /// What it is doing or what ended it, for example phaseFailed, pending, manualInterventionPending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operation_status: Option<String>,

    /// The attempt; the first is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<i64>,

    /// The release's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) release_id: Option<i64>,

    /// The release's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) release: Option<String>,

    /// The release pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) release_pipeline: Option<String>,

    /// Why: manual, automated, schedule...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,

    /// Who it was for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requested_for: Option<String>,

    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued_at: Option<String>,

    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<String>,

    /// RFC 3339; of an ended deployment the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_changed_at: Option<String>,

    /// The release in the browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}

/// The answer of `trigger_pipeline_run`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TriggeredRun {
    /// The project that was asked.
    pub(crate) project: String,

    /// The new run's id: what `get_run_failure_logs` takes.
    pub(crate) run_id: i64,

    /// The run's number, as people see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<String>,

    /// The pipeline's id.
    pub(crate) pipeline_id: i64,

    /// The pipeline's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pipeline: Option<String>,

    /// inProgress, canceling or completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,

    /// The branch without `refs/heads/`, or the full name of another reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) branch: Option<String>,

    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<String>,

    /// The run in the browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
