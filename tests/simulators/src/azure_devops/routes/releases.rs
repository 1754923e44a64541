//! Classic releases: what the deployments belong to, and their task logs.

use std::{cmp::Reverse, collections::BTreeMap};

use axum::{extract::Path, response::IntoResponse};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Answer,
    deployments::{artifacts, is_ascending, require_view, visible},
};
use crate::azure_devops::{
    ask::{Area, Ask, identity_json, number},
    clock::{wire, wire_or_null, wire_without_offset},
    error::ServiceError,
    reply::{self, Page},
    state::Simulator,
    world::model::Deployment,
};

const EXPAND: [&str; 7] = [
    "none",
    "environments",
    "artifacts",
    "approvals",
    "manualInterventions",
    "variables",
    "tags",
];

/// The deployments of each visible release.
fn grouped<'w>(
    ask: &Ask,
    project: &str,
    all: impl Iterator<Item = &'w Deployment>,
) -> BTreeMap<u32, Vec<&'w Deployment>> {
    let mut releases: BTreeMap<u32, Vec<&Deployment>> = BTreeMap::new();
    for deployment in all.filter(|deployment| visible(ask, project, deployment)) {
        releases.entry(deployment.release).or_default().push(deployment);
    }
    releases
}

fn release_not_found(id: u32) -> ServiceError {
    ServiceError::not_found(
        "ReleaseNotFoundException",
        format!("Release with ID {id} does not exist. Specify a valid release ID."),
    )
}

pub(super) async fn list(ask: Ask, Path((_, project)): Path<(String, String)>) -> Answer {
    let query = &ask.query;
    let definition: Option<u32> = query.value("definitionid")?;
    let environment: Option<u32> = query.value("definitionenvironmentid")?;
    let expand = query.choices("$expand", &EXPAND)?;
    let status = query.choice("statusfilter", &["undefined", "draft", "active", "abandoned"])?;
    let wanted: Vec<u32> = query.list("releaseidfilter")?;
    let build: Option<u32> = query.value("artifactversionid")?;
    let (after, before) = (query.time("mincreatedtime")?, query.time("maxcreatedtime")?);
    let ascending = is_ascending(query)?;
    let size = query.page_size("$top", 50, 100)?;
    let begins_with: Option<u32> = query.value("continuationtoken")?;
    require_view(&ask)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?.name.clone();
        let releases = grouped(&ask, &project, state.world.deployments.values());
        let mut found: Vec<(u32, Vec<&Deployment>)> = releases
            .into_iter()
            .filter(|_| matches!(status, None | Some("active" | "undefined")))
            .filter(|(id, _)| wanted.is_empty() || wanted.contains(id))
            .filter(|(id, _)| {
                begins_with.is_none_or(|begin| if ascending { *id >= begin } else { *id <= begin })
            })
            .filter(|(_, all)| definition.is_none_or(|id| all.iter().any(|one| one.definition == id)))
            .filter(|(_, all)| {
                environment.is_none_or(|id| all.iter().any(|one| one.definition_environment == id))
            })
            .filter(|(_, all)| build.is_none_or(|id| all.iter().any(|one| one.build == id)))
            .filter(|(_, all)| {
                query
                    .get("sourcebranchfilter")
                    .is_none_or(|branch| all.iter().any(|one| one.branch == branch))
            })
            .filter(|(id, _)| {
                query
                    .get("searchtext")
                    .is_none_or(|text| format!("release-{id}").contains(&text.to_lowercase()))
            })
            .filter(|(_, all)| after.is_none_or(|time| all.iter().any(|one| one.modified >= time)))
            .filter(|(_, all)| before.is_none_or(|time| all.iter().any(|one| one.modified <= time)))
            .collect();
        if !ascending {
            found.sort_by_key(|(id, _)| Reverse(*id));
        }
        let ids: Vec<u32> = found.iter().map(|(id, _)| *id).collect();
        let items = found
            .iter()
            .map(|(id, all)| {
                view(
                    &ask.simulator,
                    *id,
                    all,
                    expand.contains(&"environments"),
                    expand.contains(&"artifacts"),
                )
            })
            .collect();
        Ok(Page::cut(items, 0, size, |next| {
            ids.get(next).map(u32::to_string).unwrap_or_default()
        })
        .into_response())
    })
}

fn view(
    simulator: &Simulator,
    id: u32,
    deployments: &[&Deployment],
    environments: bool,
    with_artifacts: bool,
) -> Value {
    let Some(first) = deployments.first() else {
        return Value::Null;
    };
    let mut view = json!({
        "id": id,
        "name": format!("Release-{id}"),
        "status": "active",
        // The service omits the offset in this field.
        "createdOn": wire_without_offset(first.queued.or(first.started).unwrap_or(first.modified)),
        "modifiedOn": wire(first.modified),
        "modifiedBy": identity_json(&first.requested_for),
        "createdBy": identity_json(&first.requested_for),
        "createdFor": identity_json(&first.requested_for),
        "variables": {},
        "variableGroups": [],
        "releaseDefinition": {"id": first.definition, "name": first.definition_name, "path": "\\"},
        "releaseDefinitionRevision": 3,
        "description": "",
        "reason": "continuousIntegration",
        "releaseNameFormat": "Release-$(rev:r)",
        "keepForever": false,
        "logsContainerUrl": null,
        "url": simulator.release_link(&format!("/{}/_apis/Release/releases/{id}", first.project)),
        "_links": {},
        "tags": [],
        "triggeringArtifactAlias": "_shop-ci",
    });
    if let Some(view) = view.as_object_mut() {
        if environments {
            let latest = deployments.iter().filter(|deployment| deployment.latest_attempt);
            let environments: Vec<Value> = latest
                .map(|deployment| environment_view(deployment, deployments))
                .collect();
            view.insert("environments".to_owned(), json!(environments));
        }
        if with_artifacts {
            view.insert("artifacts".to_owned(), artifacts(first));
        }
    }
    view
}

/// Status of the environment, which has words of its own.
fn environment_status(deployment: &Deployment) -> &'static str {
    match (deployment.status.as_str(), deployment.operation_status.as_str()) {
        ("succeeded", _) => "succeeded",
        ("partiallySucceeded", _) => "partiallySucceeded",
        ("failed", _) | (_, "Rejected" | "PhaseFailed") => "rejected",
        ("inProgress", _) | (_, "Pending") => "inProgress",
        _ => "notStarted",
    }
}

fn environment_view(deployment: &Deployment, all: &[&Deployment]) -> Value {
    let steps: Vec<Value> = all
        .iter()
        .filter(|step| step.environment == deployment.environment)
        .map(|step| {
            let failed = step.operation_status == "PhaseFailed";
            let task = json!({
                "id": 3,
                "timelineRecordId": null,
                "name": "Deploy to the slot",
                "dateStarted": wire_or_null(step.started),
                "dateEnded": wire_or_null(step.completed),
                "startTime": wire_or_null(step.started),
                "finishTime": wire_or_null(step.completed),
                // The service uses both spellings.
                "status": if failed { "failed" } else if step.attempt == 1 { "succeeded" } else { "success" },
                "rank": 2,
                "lineCount": 3,
                "issues": if failed { json!([{"issueType": "Error", "message": "Slot swap timed out", "data": {}}]) } else { json!([]) },
                "agentName": "Hosted Agent 3",
            });
            json!({
                "id": step.id,
                "deploymentId": step.id,
                "attempt": step.attempt,
                "reason": step.reason,
                "status": step.status,
                "operationStatus": step.operation_status,
                "releaseDeployPhases": [{
                    "id": 1, "phaseId": "1", "name": "Agent job", "rank": 1, "phaseType": "agentBasedDeployment",
                    "status": if failed { "failed" } else { "succeeded" },
                    "deploymentJobs": [{"job": {"id": 1, "name": "Agent job", "status": if failed { "failure" } else { "success" }}, "tasks": [task]}],
                }],
                "requestedBy": identity_json(&step.requested_for),
                "queuedOn": wire_or_null(step.queued),
                "lastModifiedOn": wire(step.modified),
                "hasStarted": step.started.is_some(),
            })
        })
        .collect();
    json!({
        "id": deployment.environment,
        "releaseId": deployment.release,
        "name": deployment.environment_name,
        "status": environment_status(deployment),
        "rank": if deployment.environment_name == "Staging" { 1 } else { 2 },
        "definitionEnvironmentId": deployment.definition_environment,
        "release": {"id": deployment.release, "name": format!("Release-{}", deployment.release)},
        "releaseDefinition": {"id": deployment.definition, "name": deployment.definition_name},
        "preDeployApprovals": [],
        "postDeployApprovals": [],
        "deploySteps": steps,
        "variables": {},
        "conditions": [],
        "triggerReason": "Automated",
    })
}

pub(super) async fn get(ask: Ask, Path((_, project, release)): Path<(String, String, String)>) -> Answer {
    let id: u32 = number("releaseId", &release)?;
    require_view(&ask)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?.name.clone();
        let releases = grouped(&ask, &project, state.world.deployments.values());
        let deployments = releases.get(&id).ok_or_else(|| release_not_found(id))?;
        Ok(reply::json_response(&view(
            &ask.simulator,
            id,
            deployments,
            true,
            true,
        )))
    })
}

pub(super) async fn environment(
    ask: Ask,
    Path((_, project, release, environment)): Path<(String, String, String, String)>,
) -> Answer {
    let id: u32 = number("releaseId", &release)?;
    let environment: u32 = number("environmentId", &environment)?;
    require_view(&ask)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?.name.clone();
        let releases = grouped(&ask, &project, state.world.deployments.values());
        let deployments = releases.get(&id).ok_or_else(|| release_not_found(id))?;
        let latest = deployments
            .iter()
            .filter(|one| one.environment == environment)
            .max_by_key(|one| one.attempt);
        let latest = latest.ok_or_else(|| {
            ServiceError::not_found(
                "ReleaseEnvironmentNotFoundException",
                format!("Environment {environment} of release {id} does not exist."),
            )
        })?;
        Ok(reply::json_response(&environment_view(latest, deployments)))
    })
}

pub(super) async fn task_log(
    ask: Ask,
    Path((_, project, release, environment, _phase, _task)): Path<(
        String,
        String,
        String,
        String,
        String,
        String,
    )>,
) -> Answer {
    let id: u32 = number("releaseId", &release)?;
    let environment: u32 = number("environmentId", &environment)?;
    let start: usize = ask.query.value("startline")?.unwrap_or(0);
    let end: usize = ask.query.value("endline")?.unwrap_or(usize::MAX);
    require_view(&ask)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?.name.clone();
        let deployment = state
            .world
            .deployments
            .values()
            .filter(|one| visible(&ask, &project, one))
            .find(|one| one.release == id && one.environment == environment)
            .ok_or_else(|| release_not_found(id))?;
        let failed = deployment.operation_status == "PhaseFailed";
        let time = wire(deployment.modified);
        let last = if failed {
            "##[error]Slot swap timed out"
        } else {
            "##[section]Finishing: Deploy to the slot"
        };
        let lines = ["##[section]Starting: Deploy to the slot", "swapping slots", last];
        let text: Vec<String> = lines
            .iter()
            .enumerate()
            .filter(|(index, _)| *index >= start && *index <= end)
            .map(|(_, line)| format!("{time} {line}\n"))
            .collect();
        Ok(reply::typed(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            text.concat(),
        ))
    })
}
