//! Starting a run, and previewing one. The exact body is in the record.

use std::collections::BTreeMap;

use axum::{body::Bytes, extract::Path};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Answer, views};
use crate::azure_devops::{
    ask::{Area, Ask, json_body, number},
    error::ServiceError,
    reply,
    world::{
        World, commit_of,
        model::{Build, Definition, Story},
    },
};

/// The validated request for a run.
#[derive(Debug)]
struct RunRequest {
    branch: String,
    version: Option<String>,
    template_parameters: BTreeMap<String, String>,
    stages_to_skip: Vec<String>,
    has_variables: bool,
    preview: bool,
}

pub(super) async fn start(
    ask: Ask,
    Path((_, project, pipeline)): Path<(String, String, String)>,
    body: Bytes,
) -> Answer {
    answer(&ask, &project, &pipeline, &body, false)
}

/// Same body; needs no right to run.
pub(super) async fn preview(
    ask: Ask,
    Path((_, project, pipeline)): Path<(String, String, String)>,
    body: Bytes,
) -> Answer {
    answer(&ask, &project, &pipeline, &body, true)
}

fn answer(ask: &Ask, project: &str, pipeline: &str, body: &[u8], preview: bool) -> Answer {
    let id = number("pipelineId", pipeline)?;
    let body = if body.is_empty() {
        json!({})
    } else {
        json_body(body)?
    };
    let request = read(&body, preview)?;
    let now = ask.simulator.clock.now();
    ask.with(|state| {
        let permissions = &ask.caller.permissions;
        let world = &mut state.world;
        ask.project(world, project, Area::Other)?;
        let definition = ask
            .definition_by_id(world, id)
            .ok_or_else(|| ServiceError::pipeline_not_found(id))?
            .clone();
        let project = ask.project(world, &definition.project, Area::Other)?.clone();
        if !request.preview {
            ask.require(permissions.queue_builds, "Queue builds", &definition)?;
        }
        if request.has_variables {
            ask.require(
                permissions.edit_queue_build_configuration,
                "Edit queue build configuration",
                &definition,
            )?;
        }
        let parameters = validate(&request, &definition, &project.name)?;
        if request.preview {
            return Ok(reply::json_response(
                &json!({"finalYaml": final_yaml(&definition, &parameters)}),
            ));
        }
        let build = new_build(ask, world, &definition, &request, parameters, now);
        let view = views::run(&ask.simulator, &build, &definition, &project, true);
        world.builds.insert(build.id, build);
        Ok(reply::json_response(&view))
    })
}

fn wrong(what: &str) -> ServiceError {
    ServiceError::model(format!("The request is invalid. {what}"))
}

fn object<'b>(body: &'b Value, key: &str) -> Result<Option<&'b Map<String, Value>>, ServiceError> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(wrong(&format!("{key} must be an object."))),
    }
}

fn read(body: &Value, preview: bool) -> Result<RunRequest, ServiceError> {
    if !body.is_object() {
        return Err(wrong("The body must be an object."));
    }
    let own = body.pointer("/resources/repositories/self");
    let text = |key: &str| match own.and_then(|own| own.get(key)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(&format!("{key} must be a string."))),
    };
    let (branch, version) = (text("refName")?, text("version")?);
    let mut template_parameters = BTreeMap::new();
    for (name, value) in object(body, "templateParameters")?.into_iter().flatten() {
        let Value::String(value) = value else {
            return Err(wrong(&format!(
                "templateParameters is a map of string to string; {name} is not a string."
            )));
        };
        template_parameters.insert(name.clone(), value.clone());
    }
    let stages_to_skip = match body.get("stagesToSkip") {
        None | Some(Value::Null) => Vec::new(),
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|_| wrong("stagesToSkip must be a list of strings."))?,
    };
    let preview = preview || body.get("previewRun").and_then(Value::as_bool).unwrap_or(false);
    if body.get("yamlOverride").is_some_and(|value| !value.is_null()) && !preview {
        return Err(ServiceError::pipeline_validation(
            "yamlOverride is only allowed with previewRun.",
        ));
    }
    let has_variables = object(body, "variables")?.is_some_and(|variables| !variables.is_empty());
    Ok(RunRequest {
        branch: branch.unwrap_or_else(|| "refs/heads/main".to_owned()),
        version,
        template_parameters,
        stages_to_skip,
        has_variables,
        preview,
    })
}

/// Checks the request against what the YAML declares; gives every parameter its value.
fn validate(
    request: &RunRequest,
    definition: &Definition,
    repository: &str,
) -> Result<BTreeMap<String, String>, ServiceError> {
    let yaml = &definition.yaml;
    if definition.queue_status != "enabled" {
        return Err(ServiceError::pipeline_validation(format!(
            "The pipeline {} is {} and cannot be run.",
            definition.name, definition.queue_status
        )));
    }
    if !definition.branches.contains(&request.branch.as_str()) {
        return Err(ServiceError::pipeline_validation(format!(
            "{yaml}: Could not get the latest source version for repository {repository} hosted on Azure Repos using ref {}.",
            request.branch
        )));
    }
    if let Some(version) = &request.version
        && !(version.len() == 40 && version.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Err(ServiceError::pipeline_validation(format!(
            "{yaml}: {version} is not a commit of repository {repository}."
        )));
    }
    for name in request.template_parameters.keys() {
        if !definition.parameters.iter().any(|known| known.name == name) {
            return Err(ServiceError::pipeline_validation(format!(
                "{yaml} (Line: 8, Col: 13): Unexpected parameter '{name}'"
            )));
        }
    }
    if let Some(stage) = request
        .stages_to_skip
        .iter()
        .find(|stage| !definition.stages.contains(&stage.as_str()))
    {
        return Err(ServiceError::pipeline_validation(format!(
            "{yaml}: Stage {stage} in stagesToSkip does not exist."
        )));
    }
    let mut parameters = BTreeMap::new();
    for known in &definition.parameters {
        let value = request
            .template_parameters
            .get(known.name)
            .map_or(known.default, String::as_str);
        if !known.values.is_empty() && !known.values.contains(&value) {
            return Err(ServiceError::pipeline_validation(format!(
                "{yaml} (Line: 8, Col: 13): The '{}' parameter value '{value}' is not a valid value. Expected one of {}.",
                known.name,
                known.values.join(", ")
            )));
        }
        parameters.insert(known.name.to_owned(), value.to_owned());
    }
    Ok(parameters)
}

fn new_build(
    ask: &Ask,
    world: &World,
    definition: &Definition,
    request: &RunRequest,
    template_parameters: BTreeMap<String, String>,
    now: Timestamp,
) -> Build {
    let version = request
        .version
        .clone()
        .unwrap_or_else(|| commit_of(&request.branch));
    Build {
        id: world.next_build_id(),
        definition: definition.id,
        number: world.next_build_number(definition.id, now),
        status: "notStarted".to_owned(),
        result: None,
        reason: "manual".to_owned(),
        queued: now,
        started: None,
        finished: None,
        branch: request.branch.clone(),
        version,
        requested_for: ask.caller.identity(),
        template_parameters,
        tags: Vec::new(),
        story: Story::Queued,
    }
}

fn final_yaml(definition: &Definition, parameters: &BTreeMap<String, String>) -> String {
    let head = [format!("name: {}", definition.name), "stages:".to_owned()];
    let stages = definition.stages.iter().map(|stage| format!("- stage: {stage}"));
    let parameters = parameters
        .iter()
        .map(|(name, value)| format!("# {name}: {value}"));
    let lines: Vec<String> = head.into_iter().chain(stages).chain(parameters).collect();
    lines.join("\n")
}
