//! `list_pipeline_runs`.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::arguments::{Arguments, BadInput};
use super::output::PipelineRuns;
use super::projects::Projects;
use super::{ToolError, notes, reduce, schema};
use crate::azure_devops::{BuildQuery, Call};

pub(super) const NAME: &str = "list_pipeline_runs";

/// Statuses as the service filters them.
const STATUSES: [&str; 6] = [
    "completed",
    "inProgress",
    "cancelling",
    "notStarted",
    "postponed",
    "all",
];

/// Results, which models take for statuses: they mean completed runs.
const RESULTS: [&str; 4] = ["succeeded", "partiallySucceeded", "failed", "canceled"];

pub(super) fn tool(projects: &Projects) -> Tool {
    Tool::new(
        NAME,
        "Lists recent runs (builds) of Azure Pipelines, the one queued last first, with ids, statuses, results, \
         branches and durations.",
        input(projects),
    )
    .with_title("List pipeline runs")
    .with_raw_output_schema(schema::output::<PipelineRuns>())
    .with_annotations(
        ToolAnnotations::with_title("List pipeline runs").read_only(true).destructive(false).idempotent(true).open_world(true),
    )
}

fn input(projects: &Projects) -> Arc<JsonObject> {
    let (project, required) = super::project_property(projects);
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
            "top": {"type": "integer", "minimum": 1, "maximum": 50, "default": 20, "description": "How many runs."},
            "project": project,
            "continuation_token": {
                "type": "string",
                "description": "From an earlier answer, to go on where it ended; with the same other arguments.",
            },
        }),
        &required,
    )
}

/// What the model asked for.
#[derive(Debug)]
pub(super) struct Question {
    project: String,
    pipeline: Option<i64>,
    status: Option<&'static str>,
    result: Option<&'static str>,
    top: usize,
    continuation: Option<String>,
}

pub(super) fn read(values: Map<String, Value>, projects: &Projects) -> Result<Question, BadInput> {
    let known = ["pipeline_id", "status", "top", "project", "continuation_token"];
    let arguments = Arguments::new(values, &known)?;
    let (status, result) = status(arguments.text("status")?)?;
    Ok(Question {
        project: projects.choose(arguments.text("project")?)?,
        pipeline: arguments.id("pipeline_id")?,
        status,
        result,
        top: super::top(&arguments)?,
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
    // The same word has one l elsewhere in the API.
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

pub(super) async fn answer(call: &Call, question: Question) -> Result<PipelineRuns, ToolError> {
    let query = BuildQuery {
        definition: question.pipeline,
        status: question.status,
        result: question.result,
        top: question.top,
        continuation: question.continuation.as_deref(),
    };
    let page = call.builds(&question.project, &query).await?;
    let note = if page.items.is_empty() && question.continuation.is_none() {
        Some(notes::nothing_found(call, "runs").await)
    } else {
        None
    };
    Ok(PipelineRuns {
        runs: page.items.iter().map(reduce::run).collect(),
        project: question.project,
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
    fn a_status_is_read_whatever_its_case(#[case] asked: &str, #[case] expected: Filters) {
        assert_eq!(status(Some(asked)), Ok(expected));
    }

    #[test]
    fn an_unknown_status_is_answered_with_the_known_ones() {
        let error = status(Some("broken")).unwrap_err().to_string();
        assert!(
            error.contains("notStarted") && error.contains("partiallySucceeded"),
            "{error}"
        );
    }

    #[test]
    fn twenty_unless_told_and_fifty_at_most() {
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
