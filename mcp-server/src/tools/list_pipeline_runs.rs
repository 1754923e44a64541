//! `list_pipeline_runs`: its arguments, its answer and the request to Azure DevOps.

use std::sync::Arc;

use async_trait::async_trait;
use rmcp::model::{JsonObject, Tool};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::arguments::{Arguments, BadInput};
use super::pipeline_run::PipelineRun;
use super::projects::{Projects, project_property};
use super::tool::{AzureDevOpsTool, ToolError, ToolRequest, to_value, top};
use super::{empty_list, schema};
use crate::azure_devops::{BuildQuery, Call};

const NAME: &str = "list_pipeline_runs";

/// The statuses by which the service filters.
const STATUSES: [&str; 6] = [
    "completed",
    "inProgress",
    "cancelling",
    "notStarted",
    "postponed",
    "all",
];

/// Results of completed runs. The tool accepts them as statuses, because models use them so.
const RESULTS: [&str; 4] = ["succeeded", "partiallySucceeded", "failed", "canceled"];

/// The tool. It has no state.
pub(super) struct ListPipelineRuns;

#[async_trait]
impl AzureDevOpsTool for ListPipelineRuns {
    fn describe(&self, projects: &Projects) -> Tool {
        Tool::new(
            NAME,
            "Lists recent runs (builds) of Azure Pipelines, the one queued last first, with ids, statuses, results, \
             branches and durations.",
            input(projects),
        )
        .with_title("List pipeline runs")
        .with_raw_output_schema(schema::output::<PipelineRuns>())
        .with_annotations(schema::read_only("List pipeline runs"))
    }

    async fn call(&self, request: ToolRequest<'_>) -> Result<Value, ToolError> {
        let input = read(request.arguments, request.projects)?;
        let call = Call::begin(request.client, request.token).await?;
        to_value(answer(&call, input).await?)
    }
}

fn input(projects: &Projects) -> Arc<JsonObject> {
    let (project, required) = project_property(projects);
    let statuses: Vec<&str> = STATUSES.into_iter().chain(RESULTS).collect();
    schema::input(
        json!({
            "pipeline_id": {"type": "integer", "minimum": 1, "description": "Only runs of this pipeline."},
            "status": {
                "type": "string",
                "enum": statuses,
                "description": "Only runs with this status. A result (succeeded, partiallySucceeded, failed, \
                                canceled) means completed runs with that result.",
            },
            "top": schema::top("runs"),
            "project": project,
            "continuation_token": schema::continuation_token(),
        }),
        &required,
    )
}

/// The answer of `list_pipeline_runs`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PipelineRuns {
    /// Name of the project.
    pub(super) project: String,

    /// The runs, the one queued last first.
    pub(super) runs: Vec<PipelineRun>,

    /// Present if there are older runs: call again with the same arguments and this `continuation_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) continuation_token: Option<String>,

    /// Why the list is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// The arguments of a call.
#[derive(Debug)]
struct ListPipelineRunsInput {
    project: String,
    pipeline: Option<i64>,
    status: Option<&'static str>,
    result: Option<&'static str>,
    top: usize,
    continuation: Option<String>,
}

fn read(values: Map<String, Value>, projects: &Projects) -> Result<ListPipelineRunsInput, BadInput> {
    let known = ["pipeline_id", "status", "top", "project", "continuation_token"];
    let arguments = Arguments::new(values, &known)?;
    let (status, result) = status(arguments.text("status")?)?;
    Ok(ListPipelineRunsInput {
        project: projects.choose(arguments.text("project")?)?,
        pipeline: arguments.id("pipeline_id")?,
        status,
        result,
        top: top(&arguments)?,
        continuation: arguments.text("continuation_token")?.map(str::to_owned),
    })
}

type Filters = (Option<&'static str>, Option<&'static str>);

fn status(asked: Option<&str>) -> Result<Filters, BadInput> {
    let Some(asked) = asked else {
        return Ok((None, None));
    };
    let find = |names: &[&'static str]| {
        names
            .iter()
            .copied()
            .find(|name| name.eq_ignore_ascii_case(asked))
    };
    if let Some(result) = find(&RESULTS) {
        return Ok((Some("completed"), Some(result)));
    }
    // Other parts of the API spell the word with one l.
    if asked.eq_ignore_ascii_case("canceling") {
        return Ok((Some("cancelling"), None));
    }
    match find(&STATUSES) {
        Some(status) => Ok((Some(status), None)),
        None => Err(BadInput(format!(
            "there is no status {:?}; use one of {}, or a result: {}",
            asked.chars().take(60).collect::<String>(),
            STATUSES.join(", "),
            RESULTS.join(", ")
        ))),
    }
}

async fn answer(call: &Call, input: ListPipelineRunsInput) -> Result<PipelineRuns, ToolError> {
    let query = BuildQuery {
        definition: input.pipeline,
        status: input.status,
        result: input.result,
        top: input.top,
        continuation: input.continuation.as_deref(),
    };
    let page = call.builds(&input.project, &query).await?;
    let note = if page.items.is_empty() && input.continuation.is_none() {
        Some(empty_list::explain(call, "runs").await)
    } else {
        None
    };
    Ok(PipelineRuns {
        runs: page.items.iter().map(PipelineRun::of_build).collect(),
        project: input.project,
        continuation_token: page.continuation,
        note,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("inprogress", (Some("inProgress"), None))]
    #[case("CANCELING", (Some("cancelling"), None))]
    #[case("canceled", (Some("completed"), Some("canceled")))]
    #[case("Failed", (Some("completed"), Some("failed")))]
    fn reads_a_status_in_any_case(#[case] asked: &str, #[case] expected: Filters) {
        assert_eq!(status(Some(asked)), Ok(expected));
    }

    #[test]
    fn the_refusal_of_an_unknown_status_lists_the_known_ones() {
        let error = status(Some("broken")).unwrap_err().to_string();
        assert!(
            error.contains("notStarted") && error.contains("partiallySucceeded"),
            "{error}"
        );
    }

    #[test]
    fn lists_20_runs_by_default_and_50_at_most() {
        let projects = Projects::new(vec!["shop".to_owned()]);
        assert_eq!(read(Map::new(), &projects).unwrap().top, 20);
        let Value::Object(values) = json!({"top": 51}) else {
            unreachable!()
        };
        assert_eq!(
            read(values, &projects).unwrap_err().to_string(),
            "top must be a whole number from 1 to 50"
        );
    }
}
