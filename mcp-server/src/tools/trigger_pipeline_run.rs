//! `trigger_pipeline_run`: its arguments, its answer and the requests to Azure DevOps.

use std::sync::Arc;

use async_trait::async_trait;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::arguments::{Arguments, BadInput};
use super::projects::{Projects, owns, project_property};
use super::tool::{AzureDevOpsTool, ToolError, ToolRequest, to_value};
use super::{fields, schema};
use crate::azure_devops::date;
use crate::azure_devops::wire::Run;
use crate::azure_devops::{Call, Failure, RunRequest};
use crate::hop::MAX_BODY_BYTES;

const NAME: &str = "trigger_pipeline_run";

/// Maximum number of parameters of a pipeline.
const MAX_PARAMETERS: usize = 100;

/// Maximum size in bytes of the value of one parameter.
const MAX_VALUE_LENGTH: usize = 32 * 1024;

/// Maximum size in bytes of all names and values: half of the largest message, so that the model gets an error with
/// a reason instead of 413.
const ALL_VALUES: usize = MAX_BODY_BYTES / 2;

/// Maximum length of a reference in bytes. Git allows longer names, but they are not in use.
const MAX_BRANCH_LENGTH: usize = 400;

/// The tool. It has no state.
pub(super) struct TriggerPipelineRun;

#[async_trait]
impl AzureDevOpsTool for TriggerPipelineRun {
    fn describe(&self, projects: &Projects) -> Tool {
        Tool::new(
            NAME,
            "Queues a new run of a pipeline as the signed-in user, optionally on a branch and with template \
             parameters. Each call starts another run.",
            input(projects),
        )
        .with_title("Trigger a pipeline run")
        .with_raw_output_schema(schema::output::<TriggeredRun>())
        .with_annotations(
            ToolAnnotations::with_title("Trigger a pipeline run")
                .read_only(false)
                .destructive(true)
                .idempotent(false)
                .open_world(true),
        )
    }

    async fn call(&self, request: ToolRequest<'_>) -> Result<Value, ToolError> {
        let input = read(request.arguments, request.projects)?;
        let call = Call::begin(request.client, request.token).await?;
        to_value(answer(&call, input).await?)
    }
}

fn input(projects: &Projects) -> Arc<JsonObject> {
    let (project, mut required) = project_property(projects);
    required.insert(0, "pipeline_id");
    schema::input(
        json!({
            "pipeline_id": {"type": "integer", "minimum": 1, "description": "The pipeline to run."},
            "branch": {
                "type": "string",
                "description": "Branch name such as main, or a full reference such as refs/tags/v1. \
                                Default: the pipeline's default branch.",
            },
            "parameters": {
                "type": "object",
                "additionalProperties": {"type": ["string", "number", "boolean"]},
                "description": "Template parameters of the pipeline by name. Give lists and objects as JSON or \
                                YAML text.",
            },
            "project": project,
        }),
        &required,
    )
}

/// The answer of `trigger_pipeline_run`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TriggeredRun {
    /// Name of the project.
    pub(super) project: String,

    /// The id of the new run, for `get_run_failure_logs`.
    pub(super) run_id: i64,

    /// The run's number, as Azure DevOps shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<String>,

    /// The pipeline's id.
    pub(super) pipeline_id: i64,

    /// The pipeline's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pipeline: Option<String>,

    /// inProgress, canceling or completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,

    /// The branch without `refs/heads/`, or the full name of another reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) branch: Option<String>,

    /// Time when the run was queued, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_at: Option<String>,

    /// Address of the run for a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
}

impl TriggeredRun {
    fn new(project: &str, pipeline_id: i64, run: &Run) -> Self {
        let pipeline = run.pipeline.clone().unwrap_or_default();
        let repository = run
            .resources
            .as_ref()
            .and_then(|resources| resources.repositories.get("self"));
        Self {
            project: project.to_owned(),
            run_id: run.id,
            number: fields::name(run.name.as_deref()),
            pipeline_id: pipeline.id.unwrap_or(pipeline_id),
            pipeline: fields::name(pipeline.name.as_deref()),
            state: fields::enumeration(run.state.as_deref()),
            branch: repository.and_then(|repository| fields::branch(repository.ref_name.as_deref()?)),
            created_at: run.created_date.map(date::seconds),
            url: fields::web(run.links.as_ref()),
        }
    }
}

/// The arguments of a call.
#[derive(Debug)]
struct TriggerPipelineRunInput {
    project: String,
    pipeline: i64,
    reference: Option<String>,
    parameters: Map<String, Value>,
}

fn read(values: Map<String, Value>, projects: &Projects) -> Result<TriggerPipelineRunInput, BadInput> {
    let arguments = Arguments::new(values, &["pipeline_id", "branch", "parameters", "project"])?;
    Ok(TriggerPipelineRunInput {
        project: projects.choose(arguments.text("project")?)?,
        pipeline: arguments.required_id(
            "pipeline_id",
            "list_pipeline_runs shows the ids of pipelines that have run",
        )?,
        reference: arguments.text("branch")?.map(reference).transpose()?,
        parameters: parameters(arguments.object("parameters")?)?,
    })
}

/// Returns the full name of a branch or reference: `refs/heads/main` for `main`.
fn reference(branch: &str) -> Result<String, BadInput> {
    // A part of the rules of `git check-ref-format`: mistakes that a model may make.
    let malformed = branch.len() > MAX_BRANCH_LENGTH
        || branch.contains("..")
        || branch.contains("//")
        || branch.starts_with('/')
        || branch.ends_with(['/', '.'])
        || branch
            .chars()
            .any(|character| character.is_whitespace() || "~^:?*[\\".contains(character));
    if malformed {
        return Err(BadInput(
            "branch is not the name of a branch; give it as in `main` or `feature/x`".to_owned(),
        ));
    }
    if branch.starts_with("refs/") {
        Ok(branch.to_owned())
    } else {
        Ok(format!("refs/heads/{branch}"))
    }
}

/// Checks the parameters and converts their values to strings, because the service accepts no other.
fn parameters(values: Map<String, Value>) -> Result<Map<String, Value>, BadInput> {
    if values.len() > MAX_PARAMETERS {
        return Err(BadInput(format!(
            "parameters has more than {MAX_PARAMETERS} members"
        )));
    }
    let texts = values
        .iter()
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len));
    if texts.sum::<usize>() > ALL_VALUES {
        return Err(BadInput(format!(
            "parameters has more than {} KiB of names and values; keep long ones in the repository",
            ALL_VALUES / 1024
        )));
    }
    values
        .into_iter()
        .map(|(name, value)| {
            let short = || name.chars().take(100).collect::<String>();
            let text = match value {
                Value::String(text) if text.len() <= MAX_VALUE_LENGTH => text,
                Value::String(_) => {
                    return Err(BadInput(format!(
                        "the value of parameter {:?} is too long",
                        short()
                    )));
                }
                Value::Number(number) => number.to_string(),
                Value::Bool(value) => value.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err(BadInput(format!(
                        "the value of parameter {:?} must be a string, number or boolean; give a list or an \
                         object as its JSON text",
                        short()
                    )));
                }
            };
            Ok((name, Value::String(text)))
        })
        .collect()
}

async fn answer(call: &Call, input: TriggerPipelineRunInput) -> Result<TriggeredRun, ToolError> {
    let request = RunRequest {
        pipeline: input.pipeline,
        reference: input.reference.as_deref(),
        parameters: &input.parameters,
    };
    // The service finds a pipeline by its id alone. Without this check a call could run the pipelines of every
    // project that the user may see.
    let pipeline = call.definition(&input.project, input.pipeline).await?;
    if !pipeline.project.is_some_and(|owner| owns(&owner, &input.project)) {
        let what = format!("pipeline {} in project {:?}", input.pipeline, input.project);
        return Err(Failure::NotFound { what, message: None }.into());
    }
    let run = call.run(&input.project, &request).await?;
    tracing::info!(
        azure_devops.pipeline.id = input.pipeline,
        azure_devops.run.id = run.id,
        "Queued run {} of pipeline {}",
        run.id,
        input.pipeline
    );
    Ok(TriggeredRun::new(&input.project, input.pipeline, &run))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read_input(values: Value) -> Result<TriggerPipelineRunInput, BadInput> {
        let Value::Object(values) = values else {
            panic!("not an object")
        };
        read(values, &Projects::new(vec!["shop".to_owned()]))
    }

    #[rstest]
    #[case("main", "refs/heads/main")]
    #[case("feature/x", "refs/heads/feature/x")]
    #[case("refs/tags/v1", "refs/tags/v1")]
    fn a_branch_becomes_a_full_reference(#[case] branch: &str, #[case] expected: &str) {
        assert_eq!(reference(branch), Ok(expected.to_owned()));
    }

    #[rstest]
    #[case("a b")]
    #[case("a..b")]
    #[case("/main")]
    #[case("main/")]
    #[case("a:b")]
    fn refuses_an_invalid_branch(#[case] branch: &str) {
        assert!(reference(branch).is_err());
    }

    #[test]
    fn numbers_and_booleans_become_text() {
        let input = read_input(
            json!({"pipeline_id": 178, "parameters": {"env": "test", "n": 3, "f": 1.5, "dry": true}}),
        )
        .unwrap();
        assert_eq!(
            Value::Object(input.parameters),
            json!({"env": "test", "n": "3", "f": "1.5", "dry": "true"})
        );
        assert_eq!(input.reference, None);
    }

    #[test]
    fn refuses_parameters_that_are_too_large_together_with_a_reason() {
        let of = |count: usize| -> Map<String, Value> {
            (0..count)
                .map(|number| (format!("p{number}"), Value::String("x".repeat(30 * 1024))))
                .collect()
        };
        assert!(read_input(json!({"pipeline_id": 178, "parameters": of(4)})).is_ok());
        let values = json!({"pipeline_id": 178, "parameters": of(5)});
        assert!(values.to_string().len() < MAX_BODY_BYTES);
        let error = read_input(values).unwrap_err().to_string();
        assert!(error.contains("128 KiB"), "{error}");
    }

    #[rstest]
    #[case(json!({}), "pipeline_id is missing")]
    #[case(json!({"pipeline_id": 0}), "from 1 to 2147483647")]
    #[case(json!({"pipeline_id": 1, "parameters": {"list": [1]}}), "parameter \"list\"")]
    #[case(json!({"pipeline_id": 1, "parameters": {"x": null}}), "parameter \"x\"")]
    #[case(json!({"pipeline_id": 1, "parameters": "env=test"}), "must be an object")]
    fn the_refusal_says_what_to_send(#[case] values: Value, #[case] expected: &str) {
        let error = read_input(values).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
