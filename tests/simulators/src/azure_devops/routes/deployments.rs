//! Deployments of classic releases.

use std::cmp::Reverse;

use axum::{extract::Path, response::IntoResponse};
use serde_json::{Value, json};

use super::Answer;
use crate::azure_devops::{
    ask::{Area, Ask, identity_json},
    clock::{wire, wire_or_null},
    error::ServiceError,
    query::Query,
    reply::Page,
    state::Simulator,
    world::{model::Deployment, uuid_of},
};

const STATUSES: [&str; 7] = [
    "undefined",
    "notDeployed",
    "inProgress",
    "succeeded",
    "partiallySucceeded",
    "failed",
    "all",
];
const OPERATIONS: [&str; 20] = [
    "undefined",
    "queued",
    "scheduled",
    "pending",
    "approved",
    "rejected",
    "deferred",
    "queuedForAgent",
    "phaseInProgress",
    "phaseSucceeded",
    "phasePartiallySucceeded",
    "phaseFailed",
    "canceled",
    "phaseCanceled",
    "manualInterventionPending",
    "queuedForPipeline",
    "cancelling",
    "evaluatingGates",
    "gateFailed",
    "all",
];

/// Right to see releases, and the project.
pub(super) fn require_view(ask: &Ask) -> Result<(), ServiceError> {
    if ask.caller.permissions.view_releases {
        return Ok(());
    }
    Err(ServiceError::release_permission(
        &ask.caller.display_name,
        "View releases",
    ))
}

/// Whether the caller sees a deployment of this project.
pub(super) fn visible(ask: &Ask, project: &str, deployment: &Deployment) -> bool {
    deployment.project == project
        && !ask
            .caller
            .permissions
            .hidden_release_definitions
            .contains(&deployment.definition)
}

/// `queryOrder` of the release service: only a direction.
pub(super) fn is_ascending(query: &Query) -> Result<bool, ServiceError> {
    Ok(query.choice("queryorder", &["descending", "ascending"])? == Some("ascending"))
}

pub(super) async fn list(ask: Ask, Path((_, project)): Path<(String, String)>) -> Answer {
    let query = &ask.query;
    let definition: Option<u32> = query.value("definitionid")?;
    let environment: Option<u32> = query.value("definitionenvironmentid")?;
    let statuses = query.choices("deploymentstatus", &STATUSES)?;
    let operations = query.choices("operationstatus", &OPERATIONS)?;
    let latest_only = query.flag("latestattemptsonly")?;
    let ascending = is_ascending(query)?;
    let (modified_after, modified_before) = (query.time("minmodifiedtime")?, query.time("maxmodifiedtime")?);
    let (started_after, started_before) = (query.time("minstartedtime")?, query.time("maxstartedtime")?);
    let size = query.page_size("$top", 50, 100)?;
    // The continuation token of this list is the first id of the page.
    let begins_with: Option<u32> = query.value("continuationtoken")?;
    let created_for = query.get("createdfor").or_else(|| query.get("createdby"));
    require_view(&ask)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?.name.clone();
        let one_of = |filter: &[&str], value: &str| {
            filter.is_empty()
                || filter.contains(&"all")
                || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        let mut found: Vec<&Deployment> = state
            .world
            .deployments
            .values()
            .filter(|deployment| visible(&ask, &project, deployment))
            .filter(|deployment| definition.is_none_or(|id| deployment.definition == id))
            .filter(|deployment| environment.is_none_or(|id| deployment.definition_environment == id))
            .filter(|deployment| one_of(&statuses, &deployment.status))
            .filter(|deployment| one_of(&operations, &deployment.operation_status))
            .filter(|deployment| !latest_only || deployment.latest_attempt)
            .filter(|deployment| created_for.is_none_or(|who| is_by(deployment, who)))
            .filter(|deployment| {
                query
                    .get("sourcebranch")
                    .is_none_or(|branch| branch == deployment.branch)
            })
            .filter(|deployment| modified_after.is_none_or(|time| deployment.modified >= time))
            .filter(|deployment| modified_before.is_none_or(|time| deployment.modified <= time))
            .filter(|deployment| {
                started_after.is_none_or(|time| deployment.started.is_some_and(|at| at >= time))
            })
            .filter(|deployment| {
                started_before.is_none_or(|time| deployment.started.is_some_and(|at| at <= time))
            })
            .filter(|deployment| {
                begins_with.is_none_or(|id| {
                    if ascending {
                        deployment.id >= id
                    } else {
                        deployment.id <= id
                    }
                })
            })
            .collect();
        if ascending {
            found.sort_by_key(|deployment| deployment.id);
        } else {
            found.sort_by_key(|deployment| Reverse(deployment.id));
        }
        let ids: Vec<u32> = found.iter().map(|deployment| deployment.id).collect();
        let items = found
            .into_iter()
            .map(|deployment| view(&ask.simulator, deployment))
            .collect();
        Ok(Page::cut(items, 0, size, |next| {
            ids.get(next).map(u32::to_string).unwrap_or_default()
        })
        .into_response())
    })
}

fn is_by(deployment: &Deployment, who: &str) -> bool {
    let person = &deployment.requested_for;
    [&person.display_name, &person.unique_name, &person.id]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(who))
}

/// Artifacts of the release that a deployment belongs to.
pub(super) fn artifacts(deployment: &Deployment) -> Value {
    json!([{
        "sourceId": format!("{}:178", uuid_of(&format!("project {}", deployment.project))),
        "type": "Build",
        "alias": "_shop-ci",
        "isPrimary": true,
        "definitionReference": {
            "version": {"id": deployment.build.to_string(), "name": format!("build {}", deployment.build)},
            "branch": {"id": deployment.branch, "name": deployment.branch},
            "definition": {"id": "178", "name": "shop-ci"},
        },
    }])
}

fn view(simulator: &Simulator, deployment: &Deployment) -> Value {
    let project = &deployment.project;
    let release = deployment.release;
    let mut view = json!({
        "id": deployment.id,
        "release": {
            "id": release,
            "name": format!("Release-{release}"),
            "url": simulator.release_link(&format!("/{project}/_apis/Release/releases/{release}")),
            "artifacts": artifacts(deployment),
            "webAccessUri": simulator.core_link(&format!("/{project}/_release?releaseId={release}&_a=release-summary")),
            "_links": {},
        },
        "releaseDefinition": {"id": deployment.definition, "name": deployment.definition_name, "path": "\\", "projectReference": null, "_links": {}},
        "releaseEnvironment": {"id": deployment.environment, "name": deployment.environment_name, "_links": {}},
        "projectReference": null,
        "definitionEnvironmentId": deployment.definition_environment,
        "attempt": deployment.attempt,
        "reason": deployment.reason,
        "deploymentStatus": deployment.status,
        "operationStatus": deployment.operation_status,
        "requestedBy": identity_json(&deployment.requested_for),
        "requestedFor": identity_json(&deployment.requested_for),
        "queuedOn": wire_or_null(deployment.queued),
        "startedOn": wire_or_null(deployment.started),
        "lastModifiedOn": wire(deployment.modified),
        "lastModifiedBy": identity_json(&deployment.requested_for),
        "conditions": [{"name": "ReleaseStarted", "conditionType": "event", "value": ""}],
        "preDeployApprovals": [],
        "postDeployApprovals": [],
        "_links": {},
    });
    if let Some(view) = view.as_object_mut() {
        super::views::set(view, "completedOn", deployment.completed.map(wire));
    }
    view
}
