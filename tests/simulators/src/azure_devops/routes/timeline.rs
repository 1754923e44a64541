//! `build/builds/{id}/timeline[/{timelineId}]`.

use axum::{extract::Path, response::IntoResponse};
use http::StatusCode;
use serde_json::json;

use super::Answer;
use crate::azure_devops::{
    ask::{Area, Ask, number},
    clock::wire,
    error::ServiceError,
    reply,
    world::story,
};

/// The plan of a build has the id of its timeline.
pub(super) fn plan_id(build: u32) -> String {
    story::timeline_id(build)
}

pub(super) async fn current(ask: Ask, Path((_, project, build)): Path<(String, String, String)>) -> Answer {
    let id = number("buildId", &build)?;
    answer(&ask, &project, id, None)
}

pub(super) async fn by_id(
    ask: Ask,
    Path((_, project, build, timeline)): Path<(String, String, String, String)>,
) -> Answer {
    let id = number("buildId", &build)?;
    answer(&ask, &project, id, Some(&timeline))
}

fn answer(ask: &Ask, project: &str, id: u32, timeline: Option<&str>) -> Answer {
    let (told, changed) = ask.with(|state| {
        let project = ask.project(&state.world, project, Area::Build)?;
        let (build, _) = ask.build(&state.world, project, id)?;
        let changed = build.finished.or(build.started).unwrap_or(build.queued);
        Ok((story::progress(&state.world, build), changed))
    })?;
    // The service answers 204 while no record has started.
    let Some(records) = told.records else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let current = story::timeline_id(id);
    let wanted = timeline.unwrap_or(&current);
    let found = if wanted == current {
        Some(records)
    } else {
        told.earlier
            .into_iter()
            .find(|(id, _)| id == wanted)
            .map(|(_, records)| records)
    };
    let records = found.ok_or_else(|| {
        ServiceError::not_found(
            "TimelineNotFoundException",
            format!("Timeline {wanted} of build {id} could not be found."),
        )
    })?;
    Ok(reply::json_response(&json!({
        "records": records,
        "lastChangedBy": "00000002-0000-8888-8000-000000000000",
        "lastChangedOn": wire(changed),
        "id": wanted,
        "changeId": 41,
        "url": ask.simulator.core_link(&format!("/_apis/build/Builds/{id}/Timeline/{wanted}")),
    })))
}
