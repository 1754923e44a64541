//! Cancel and retry, of a build and of a stage.

use axum::{body::Bytes, extract::Path, response::IntoResponse};
use http::StatusCode;
use serde_json::Value;

use super::{Answer, views};
use crate::azure_devops::{
    ask::{Area, Ask, json_body, number},
    error::ServiceError,
    reply,
    world::model::Story,
};

/// `{"status":"cancelling"}` or `?retry=true`.
pub(super) async fn build(
    ask: Ask,
    Path((_, project, build)): Path<(String, String, String)>,
    body: Bytes,
) -> Answer {
    let id: u32 = number("buildId", &build)?;
    let retry = ask.query.flag("retry")?;
    let status = if retry && body.is_empty() {
        None
    } else {
        status_of(&json_body(&body)?)?
    };
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Build)?;
        let (found, definition) = ask.build(&state.world, project, id)?;
        if retry {
            ask.require(ask.caller.permissions.queue_builds, "Queue builds", definition)?;
            if !found.is_completed() {
                return Err(ServiceError::invalid_argument(
                    "Only a completed build can be retried.",
                ));
            }
        } else if status.is_some() {
            ask.require(ask.caller.permissions.stop_builds, "Stop builds", definition)?;
        }
        if let Some(build) = state.world.builds.get_mut(&id) {
            if retry {
                "inProgress".clone_into(&mut build.status);
                build.result = None;
                build.finished = None;
                build.story = Story::Running;
            } else if status.is_some() && !build.is_completed() {
                // The agent needs a moment to stop: the build is `cancelling`, with two l, until then.
                "cancelling".clone_into(&mut build.status);
            }
        }
        let build = state
            .world
            .builds
            .get(&id)
            .ok_or_else(|| ServiceError::build_not_found(id))?;
        Ok(reply::json_response(&views::build(
            &ask.simulator,
            &state.world,
            build,
        )))
    })
}

fn status_of(body: &Value) -> Result<Option<()>, ServiceError> {
    match body
        .get("status")
        .map(|status| status.as_str().unwrap_or_default().to_ascii_lowercase())
    {
        None => Ok(None),
        Some(status) if status == "cancelling" => Ok(Some(())),
        Some(_) => Err(ServiceError::invalid_argument(
            "A build can only be updated to the status cancelling.",
        )),
    }
}

/// `{"state":"cancel|retry","forceRetryAllJobs":false}`: 200 without a body.
pub(super) async fn stage(
    ask: Ask,
    Path((_, project, build, stage)): Path<(String, String, String, String)>,
    body: Bytes,
) -> Answer {
    let id: u32 = number("buildId", &build)?;
    let body = json_body(&body)?;
    let state_wanted = body
        .get("state")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_ascii_lowercase();
    if !matches!(state_wanted.as_str(), "cancel" | "retry") {
        return Err(ServiceError::model(
            "The request is invalid. state must be cancel or retry.",
        ));
    }
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Build)?;
        let (_, definition) = ask.build(&state.world, project, id)?;
        if state_wanted == "retry" {
            ask.require(ask.caller.permissions.queue_builds, "Queue builds", definition)?;
        } else {
            ask.require(ask.caller.permissions.stop_builds, "Stop builds", definition)?;
        }
        if !definition
            .stages
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&stage))
        {
            return Err(ServiceError::not_found(
                "StageNotFoundException",
                format!("Stage {stage} of build {id} could not be found."),
            ));
        }
        if let Some(build) = state.world.builds.get_mut(&id) {
            if state_wanted == "retry" {
                "inProgress".clone_into(&mut build.status);
                build.result = None;
                build.finished = None;
                build.story = Story::Running;
            } else if !build.is_completed() {
                "cancelling".clone_into(&mut build.status);
            }
        }
        Ok(StatusCode::OK.into_response())
    })
}
