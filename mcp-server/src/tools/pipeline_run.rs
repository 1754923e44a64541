//! A run of a pipeline, as several tools return it. A run is a build of Azure DevOps.

use schemars::JsonSchema;
use serde::Serialize;

use super::fields;
use crate::azure_devops::date;
use crate::azure_devops::wire::Build;

/// A run of a pipeline.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct PipelineRun {
    /// The run's id, also known as build id.
    pub(crate) run_id: i64,

    /// The run's number, as Azure DevOps shows it.
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

    /// Hash of the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,

    /// The trigger, for example manual, individualCI, schedule or pullRequest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,

    /// Display name of the person who requested the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requested_for: Option<String>,

    /// Time when the run was queued, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued_at: Option<String>,

    /// Time when the run started, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<String>,

    /// Time when the run finished, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finished_at: Option<String>,

    /// Seconds from start to finish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_seconds: Option<i64>,

    /// Address of the run for a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}

impl PipelineRun {
    /// Reduces a build to what the tools return.
    pub(super) fn of_build(build: &Build) -> Self {
        let definition = build.definition.clone().unwrap_or_default();
        Self {
            run_id: build.id,
            number: fields::name(build.number.as_deref()),
            pipeline_id: definition.id,
            pipeline: fields::name(definition.name.as_deref()),
            status: fields::enumeration(build.status.as_deref()),
            result: fields::enumeration(build.result.as_deref()).filter(|result| result != "none"),
            branch: build.source_branch.as_deref().and_then(fields::branch),
            commit: fields::name(build.source_version.as_deref()),
            reason: fields::enumeration(build.reason.as_deref()),
            requested_for: fields::name(
                build
                    .requested_for
                    .as_ref()
                    .and_then(|person| person.display_name.as_deref()),
            ),
            queued_at: build.queue_time.map(date::seconds),
            started_at: build.start_time.map(date::seconds),
            finished_at: build.finish_time.map(date::seconds),
            duration_seconds: date::duration_seconds(build.start_time, build.finish_time),
            url: fields::web(build.links.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_what_describes_the_run_and_drops_what_identifies_people() {
        let build: Build = serde_json::from_value(json!({
            "id": 638, "buildNumber": "20260401.4", "status": "completed", "result": "failed",
            "reason": "individualCI", "queueTime": "2026-04-01T10:48:33.3063796Z",
            "startTime": "2026-04-01T10:48:41.12Z", "finishTime": "2026-04-01T10:52:07.5Z",
            "sourceBranch": "refs/heads/main", "sourceVersion": "574271bb",
            "definition": {"id": 178, "name": "shop-ci"},
            "requestedFor": {"displayName": "Ana Contoso", "uniqueName": "ana@contoso.example", "descriptor": "aad.Ab12"},
            "_links": {"web": {"href": "https://dev.azure.com/contoso/_build/results?buildId=638"}},
            "parameters": "{\"password\":\"x\"}",
        }))
        .unwrap();
        let run = serde_json::to_value(PipelineRun::of_build(&build)).unwrap();
        assert_eq!(
            run,
            json!({
                "run_id": 638, "number": "20260401.4", "pipeline_id": 178, "pipeline": "shop-ci",
                "status": "completed", "result": "failed", "branch": "main", "commit": "574271bb",
                "reason": "individualCI", "requested_for": "Ana Contoso",
                "queued_at": "2026-04-01T10:48:33Z", "started_at": "2026-04-01T10:48:41Z",
                "finished_at": "2026-04-01T10:52:07Z", "duration_seconds": 206,
                "url": "https://dev.azure.com/contoso/_build/results?buildId=638",
            })
        );
    }

    #[test]
    fn a_queued_run_has_no_result_and_no_times() {
        let build: Build =
            serde_json::from_value(json!({"id": 1, "status": "notStarted", "result": "none"})).unwrap();
        assert_eq!(
            serde_json::to_value(PipelineRun::of_build(&build)).unwrap(),
            json!({"run_id": 1, "status": "notStarted"})
        );
    }
}
