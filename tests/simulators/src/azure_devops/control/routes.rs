//! The control port's side of the simulator.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{get, patch, post, put},
};
use http::StatusCode;
use jiff::SignedDuration;

use super::{BuildChange, NewBuild, Planted};
use crate::{
    azure_devops::{
        fault::Fault,
        permissions::Permissions,
        state::{Endpoints, Settings, Simulator},
        world::{
            commit_of,
            model::{Build, Identity},
            planted,
        },
    },
    people::ANA,
};

type Shared = State<Arc<Simulator>>;

pub(in crate::azure_devops) fn router(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/endpoints", get(endpoints))
        .route("/record", get(record).delete(clear_record))
        .route("/tokens", get(tokens))
        .route("/planted", get(planted_words))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/settings", get(settings).put(change_settings))
        .route("/permissions", get(all_permissions))
        .route(
            "/permissions/{object_id}",
            put(change_permissions).delete(forget_user),
        )
        .route("/builds", post(add_builds))
        .route("/builds/{build}", patch(change_build))
        .route("/reset", post(reset))
        .with_state(simulator)
}

async fn endpoints(State(simulator): Shared) -> Json<Endpoints> {
    Json(simulator.endpoints.clone())
}

async fn record(State(simulator): Shared) -> Response {
    Json(simulator.lock().record.calls()).into_response()
}

async fn clear_record(State(simulator): Shared) -> StatusCode {
    simulator.lock().record.clear_calls();
    StatusCode::NO_CONTENT
}

async fn tokens(State(simulator): Shared) -> Json<Vec<String>> {
    Json(simulator.lock().record.tokens())
}

async fn planted_words() -> Json<Planted> {
    Json(Planted {
        secrets: planted::SECRETS.map(str::to_owned).into(),
        instructions: planted::INSTRUCTIONS.map(str::to_owned).into(),
    })
}

async fn faults(State(simulator): Shared) -> Json<Vec<Fault>> {
    Json(simulator.lock().faults.all().to_vec())
}

async fn add_fault(State(simulator): Shared, Json(fault): Json<Fault>) -> StatusCode {
    simulator.lock().faults.add(fault);
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(simulator): Shared) -> StatusCode {
    simulator.lock().faults.clear();
    StatusCode::NO_CONTENT
}

async fn settings(State(simulator): Shared) -> Json<Settings> {
    Json(simulator.lock().settings)
}

async fn change_settings(State(simulator): Shared, Json(settings): Json<Settings>) -> StatusCode {
    simulator.lock().settings = settings;
    StatusCode::NO_CONTENT
}

async fn all_permissions(State(simulator): Shared) -> Response {
    Json(simulator.lock().permissions.clone()).into_response()
}

async fn change_permissions(
    State(simulator): Shared,
    Path(object_id): Path<String>,
    Json(permissions): Json<Permissions>,
) -> StatusCode {
    simulator
        .lock()
        .permissions
        .insert(object_id.to_ascii_lowercase(), permissions);
    StatusCode::NO_CONTENT
}

async fn forget_user(State(simulator): Shared, Path(object_id): Path<String>) -> StatusCode {
    match simulator
        .lock()
        .permissions
        .remove(&object_id.to_ascii_lowercase())
    {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

/// Answers with the ids of the new builds.
async fn add_builds(
    State(simulator): Shared,
    Json(new): Json<NewBuild>,
) -> Result<Json<Vec<u32>>, StatusCode> {
    let now = simulator.clock.now();
    let mut state = simulator.lock();
    let world = &mut state.world;
    if !world.definitions.contains_key(&new.definition) {
        return Err(StatusCode::NOT_FOUND);
    }
    let mut ids = Vec::new();
    for _ in 0..new.copies {
        let id = world.next_build_id();
        let completed = new.status.eq_ignore_ascii_case("completed");
        let started = (!new.status.eq_ignore_ascii_case("notStarted")).then_some(now);
        let build = Build {
            id,
            definition: new.definition,
            number: world.next_build_number(new.definition, now),
            status: new.status.clone(),
            result: new.result.clone(),
            reason: new.reason.clone(),
            queued: now.checked_sub(SignedDuration::from_secs(90)).unwrap_or(now),
            started,
            finished: completed.then_some(now),
            branch: new.branch.clone(),
            version: commit_of(&format!("{} {id}", new.branch)),
            requested_for: Identity::from(ANA),
            template_parameters: [("env".to_owned(), "test".to_owned())].into(),
            tags: Vec::new(),
            story: new.story,
        };
        world.builds.insert(id, build);
        ids.push(id);
    }
    Ok(Json(ids))
}

async fn change_build(
    State(simulator): Shared,
    Path(id): Path<u32>,
    Json(change): Json<BuildChange>,
) -> StatusCode {
    let now = simulator.clock.now();
    let mut state = simulator.lock();
    let Some(build) = state.world.builds.get_mut(&id) else {
        return StatusCode::NOT_FOUND;
    };
    if let Some(status) = change.status {
        build.status = status;
        build.finished = build.is_completed().then_some(now);
        if !build.status.eq_ignore_ascii_case("notStarted") {
            build.started.get_or_insert(now);
        }
        if !build.is_completed() {
            build.result = None;
        }
    }
    if change.result.is_some() {
        build.result = change.result;
    }
    if let Some(story) = change.story {
        build.story = story;
    }
    StatusCode::NO_CONTENT
}

async fn reset(State(simulator): Shared) -> StatusCode {
    simulator.reset();
    StatusCode::NO_CONTENT
}
