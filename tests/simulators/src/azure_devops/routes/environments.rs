//! Environments of YAML pipelines and what was deployed to them.

use axum::{extract::Path, response::IntoResponse};
use serde_json::{Value, json};

use super::{Answer, views};
use crate::azure_devops::{
    ask::{Area, Ask, identity_json, number},
    clock::wire,
    error::ServiceError,
    query::matches_wildcard,
    reply::{self, Page},
    world::{
        World,
        model::{Environment, EnvironmentRecord, Project},
        story,
    },
};

pub(super) async fn list(ask: Ask, Path((_, project)): Path<(String, String)>) -> Answer {
    let query = &ask.query;
    let size = query.page_size("$top", 50, 100)?;
    let offset: usize = query.value("continuationtoken")?.unwrap_or(0);
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?;
        let items = state
            .world
            .environments
            .iter()
            .filter(|environment| environment.project == project.name)
            .filter(|environment| {
                query
                    .get("name")
                    .is_none_or(|name| matches_wildcard(name, &environment.name))
            })
            .map(|environment| view(environment, project))
            .collect();
        Ok(Page::cut(items, offset, size, |next| next.to_string()).into_response())
    })
}

fn view(environment: &Environment, project: &Project) -> Value {
    json!({
        "id": environment.id,
        "name": environment.name,
        "description": environment.description,
        "createdBy": identity_json(&crate::people::BEN.into()),
        "createdOn": wire(environment.created),
        "lastModifiedBy": identity_json(&crate::people::BEN.into()),
        "lastModifiedOn": wire(environment.created),
        "project": {"id": project.id, "name": project.name},
    })
}

fn find<'w>(world: &'w World, project: &Project, id: u32) -> Result<&'w Environment, ServiceError> {
    let found = world
        .environments
        .iter()
        .find(|one| one.id == id && one.project == project.name);
    found.ok_or_else(|| {
        ServiceError::not_found(
            "EnvironmentNotFoundException",
            format!("Environment with ID {id} does not exist or you do not have permission to see it."),
        )
    })
}

pub(super) async fn get(ask: Ask, Path((_, project, environment)): Path<(String, String, String)>) -> Answer {
    let id = number("environmentId", &environment)?;
    let expand = ask.query.choice("expands", &["none", "resourceReferences"])?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?;
        let mut view = view(find(&state.world, project, id)?, project);
        if expand == Some("resourceReferences")
            && let Some(view) = view.as_object_mut()
        {
            view.insert(
                "resources".to_owned(),
                json!([{"id": 11, "name": "web", "type": "kubernetes", "tags": []}]),
            );
        }
        Ok(reply::json_response(&view))
    })
}

/// `top` without `$`: a client that sends `$top` gets the whole page.
pub(super) async fn records(
    ask: Ask,
    Path((_, project, environment)): Path<(String, String, String)>,
) -> Answer {
    let id = number("environmentId", &environment)?;
    let size = ask.query.page_size("top", 50, 1_000)?;
    let begins_with: Option<u32> = ask.query.value("continuationtoken")?;
    ask.with(|state| {
        let world = &state.world;
        let project = ask.project(world, &project, Area::Other)?;
        find(world, project, id)?;
        let found: Vec<&EnvironmentRecord> = world
            .environment_records
            .iter()
            .filter(|record| record.environment == id && begins_with.is_none_or(|begin| record.id <= begin))
            .collect();
        let ids: Vec<u32> = found.iter().map(|record| record.id).collect();
        let items = found
            .into_iter()
            .map(|record| record_view(world, record, project))
            .collect();
        Ok(Page::cut(items, 0, size, |next| {
            ids.get(next).map(u32::to_string).unwrap_or_default()
        })
        .into_response())
    })
}

fn record_view(world: &World, record: &EnvironmentRecord, project: &Project) -> Value {
    let build = world.builds.get(&record.build);
    let definition = build.and_then(|build| world.definition_of(build));
    let mut view = json!({
        "id": record.id,
        "environmentId": record.environment,
        "requestIdentifier": format!("{}.{}", record.stage, record.job),
        "serviceOwner": "00025394-6065-48ca-87d9-7f5672854ef7",
        "scopeId": project.id,
        "planType": "Build",
        "planId": story::timeline_id(record.build),
        "stageName": record.stage,
        "jobName": record.job,
        "stageAttempt": 1,
        "jobAttempt": 1,
        "definition": {"id": definition.map(|definition| definition.id), "name": definition.map(|definition| definition.name.clone())},
        "owner": {"id": record.build, "name": build.map(|build| build.number.clone())},
        "queueTime": wire(record.queued),
    });
    if let Some(view) = view.as_object_mut() {
        views::set(view, "result", record.result.clone());
        views::set(view, "startTime", record.started.map(wire));
        views::set(view, "finishTime", record.finished.map(wire));
    }
    view
}
