//! Pipelines and their runs, as far as they are only read.

use axum::{extract::Path, response::IntoResponse};
use serde_json::json;

use super::{Answer, views};
use crate::azure_devops::{
    ask::{Area, Ask, number},
    error::ServiceError,
    reply::{self, Page},
    world::model::Definition,
};

/// Maximum number of runs in one answer.
const MOST_RUNS: usize = 10_000;

pub(super) async fn list(ask: Ask, Path((_, project)): Path<(String, String)>) -> Answer {
    let size = ask.query.page_size("$top", 10_000, 10_000)?;
    let offset: usize = ask.query.value("continuationtoken")?.unwrap_or(0);
    let descending = ask
        .query
        .get("orderby")
        .is_some_and(|order| order.to_ascii_lowercase().ends_with(" desc"));
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?;
        let mut found: Vec<&Definition> = state
            .world
            .definitions
            .values()
            .filter(|definition| definition.project == project.name && ask.sees(definition))
            .collect();
        found.sort_by_key(|definition| definition.name.to_lowercase());
        if descending {
            found.reverse();
        }
        let items = found
            .into_iter()
            .map(|definition| views::pipeline(&ask.simulator, definition, project))
            .collect();
        Ok(Page::cut(items, offset, size, |next| next.to_string()).into_response())
    })
}

pub(super) async fn get(ask: Ask, Path((_, project, pipeline)): Path<(String, String, String)>) -> Answer {
    let id = number("pipelineId", &pipeline)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?;
        let definition =
            ask.definition(&state.world, project, id).ok_or_else(|| ServiceError::pipeline_not_found(id))?;
        let mut view = views::pipeline(&ask.simulator, definition, project);
        if let Some(view) = view.as_object_mut() {
            let repository = json!({"id": project.repository_id(), "type": "azureReposGit"});
            view.insert(
                "configuration".to_owned(),
                json!({"path": definition.yaml.trim_start_matches('/'), "repository": repository, "type": "yaml"}),
            );
        }
        Ok(reply::json_response(&view))
    })
}

/// The newest first; no filter, no paging, no parameters and no resources.
pub(super) async fn runs(ask: Ask, Path((_, project, pipeline)): Path<(String, String, String)>) -> Answer {
    let id: u32 = number("pipelineId", &pipeline)?;
    ask.with(|state| {
        let world = &state.world;
        let project = ask.project(world, &project, Area::Other)?;
        let definition = ask
            .definition(world, project, id)
            .ok_or_else(|| ServiceError::pipeline_not_found(id))?;
        let runs = world
            .builds
            .values()
            .rev()
            .filter(|build| build.definition == id)
            .take(MOST_RUNS);
        let items = runs
            .map(|build| views::run(&ask.simulator, build, definition, project, false))
            .collect();
        Ok(Page::whole(items).into_response())
    })
}

pub(super) async fn run(
    ask: Ask,
    Path((_, project, pipeline, run)): Path<(String, String, String, String)>,
) -> Answer {
    let pipeline: u32 = number("pipelineId", &pipeline)?;
    let id: u32 = number("runId", &run)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?;
        let (build, definition) = ask.build(&state.world, project, id)?;
        if definition.id != pipeline {
            return Err(ServiceError::pipeline_not_found(pipeline));
        }
        Ok(reply::json_response(&views::run(
            &ask.simulator,
            build,
            definition,
            project,
            true,
        )))
    })
}

pub(super) async fn artifacts(
    ask: Ask,
    Path((_, project, _pipeline, run)): Path<(String, String, String, String)>,
) -> Answer {
    let id: u32 = number("runId", &run)?;
    let signed = ask.query.choice("$expand", &["none", "signedContent"])? == Some("signedContent");
    let name = ask.query.get("artifactname").unwrap_or_default().to_owned();
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?;
        let (build, _) = ask.build(&state.world, project, id)?;
        if name != "drop" || build.result.as_deref() != Some("succeeded") {
            return Err(ServiceError::not_found(
                "ArtifactNotFoundException",
                format!("Artifact {name} of run {id} could not be found."),
            ));
        }
        let mut view = json!({"name": "drop", "url": ask.simulator.core_link(&format!("/_apis/pipelines/runs/{id}/artifacts?artifactName=drop"))});
        if signed && let Some(view) = view.as_object_mut() {
            view.insert("signedContent".to_owned(), views::signed_content(&ask.simulator, &format!("artifact {id}")));
        }
        Ok(reply::json_response(&view))
    })
}
