//! `trigger_pipeline_run`.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::arguments::{Arguments, BadInput};
use super::output::TriggeredRun;
use super::projects::{self, Projects};
use super::{ToolError, reduce, schema};
use crate::azure_devops::{Call, Failure, RunRequest};
use crate::hop::LARGEST_BODY;

pub(super) const NAME: &str = "trigger_pipeline_run";

/// Parameters of a pipeline, bytes in the value of one, and bytes in all names and values: half of what a message
/// may have, so that the model reads what is wrong instead of losing the connection.
const PARAMETERS: usize = 100;
const LONGEST_VALUE: usize = 32 * 1024;
const ALL_VALUES: usize = LARGEST_BODY / 2;

/// Git allows longer names; nobody has them.
const LONGEST_BRANCH: usize = 400;

pub(super) fn tool(projects: &Projects) -> Tool {
    Tool::new(
        NAME,
        "Queues a new run of a pipeline, as the signed-in user, on a branch and with template parameters if \
         given. It changes things: each call starts another run.",
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

fn input(projects: &Projects) -> Arc<JsonObject> {
    let (project, mut required) = super::project_property(projects);
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
                "description": "Template parameters of the pipeline by name. Lists and objects go as JSON or \
                                YAML text.",
            },
            "project": project,
        }),
        &required,
    )
}

/// What the model asked for.
#[derive(Debug)]
pub(super) struct Question {
    project: String,
    pipeline: i64,
    reference: Option<String>,
    parameters: Map<String, Value>,
}

pub(super) fn read(values: Map<String, Value>, projects: &Projects) -> Result<Question, BadInput> {
    let arguments = Arguments::new(values, &["pipeline_id", "branch", "parameters", "project"])?;
    Ok(Question {
        project: projects.choose(arguments.text("project")?)?,
        pipeline: arguments.required_id(
            "pipeline_id",
            "list_pipeline_runs shows the ids of pipelines that have run",
        )?,
        reference: arguments.text("branch")?.map(reference).transpose()?,
        parameters: parameters(arguments.object("parameters")?)?,
    })
}

/// `main` means `refs/heads/main`.
fn reference(branch: &str) -> Result<String, BadInput> {
    // What `git check-ref-format` refuses and could be a mistake of a model.
    let malformed = branch.len() > LONGEST_BRANCH
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

/// The service takes text only.
fn parameters(values: Map<String, Value>) -> Result<Map<String, Value>, BadInput> {
    if values.len() > PARAMETERS {
        return Err(BadInput(format!("parameters has more than {PARAMETERS} members")));
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
                Value::String(text) if text.len() <= LONGEST_VALUE => text,
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

pub(super) async fn answer(call: &Call, question: Question) -> Result<TriggeredRun, ToolError> {
    let request = RunRequest {
        pipeline: question.pipeline,
        reference: question.reference.as_deref(),
        parameters: &question.parameters,
    };
    // The service finds a pipeline by its id alone: without this check the project of the address would be a mere
    // decoration, and a call could run the pipelines of every project that the user may see.
    let pipeline = call.definition(&question.project, question.pipeline).await?;
    if !pipeline
        .project
        .is_some_and(|owner| projects::is(&owner, &question.project))
    {
        let what = format!("pipeline {} in project {:?}", question.pipeline, question.project);
        return Err(Failure::NotFound { what, message: None }.into());
    }
    let run = call.run(&question.project, &request).await?;
    tracing::info!(
        azure_devops.pipeline.id = question.pipeline,
        azure_devops.run.id = run.id,
        "Queued run {} of pipeline {}",
        run.id,
        question.pipeline
    );
    Ok(reduce::triggered(&question.project, question.pipeline, &run))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn question(values: Value) -> Result<Question, BadInput> {
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
    fn refuses_what_is_no_branch(#[case] branch: &str) {
        assert!(reference(branch).is_err());
    }

    #[test]
    fn numbers_and_booleans_become_text() {
        let question = question(
            json!({"pipeline_id": 178, "parameters": {"env": "test", "n": 3, "f": 1.5, "dry": true}}),
        )
        .unwrap();
        assert_eq!(
            Value::Object(question.parameters),
            json!({"env": "test", "n": "3", "f": "1.5", "dry": "true"})
        );
        assert_eq!(question.reference, None);
    }

    #[test]
    fn parameters_that_are_too_much_together_are_the_models_to_mend() {
        let of = |count: usize| -> Map<String, Value> {
            (0..count)
                .map(|number| (format!("p{number}"), Value::String("x".repeat(30 * 1024))))
                .collect()
        };
        assert!(question(json!({"pipeline_id": 178, "parameters": of(4)})).is_ok());
        let values = json!({"pipeline_id": 178, "parameters": of(5)});
        assert!(values.to_string().len() < LARGEST_BODY);
        let error = question(values).unwrap_err().to_string();
        assert!(error.contains("128 KiB"), "{error}");
    }

    #[rstest]
    #[case(json!({}), "pipeline_id is missing")]
    #[case(json!({"pipeline_id": 0}), "from 1 to 2147483647")]
    #[case(json!({"pipeline_id": 1, "parameters": {"list": [1]}}), "parameter \"list\"")]
    #[case(json!({"pipeline_id": 1, "parameters": {"x": null}}), "parameter \"x\"")]
    #[case(json!({"pipeline_id": 1, "parameters": "env=test"}), "must be an object")]
    fn refuses_with_what_to_send(#[case] values: Value, #[case] expected: &str) {
        let error = question(values).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
