//! The JSON of builds, definitions and projects.

use serde_json::{Map, Value, json};

use crate::azure_devops::{
    ask::identity_json,
    clock::wire,
    state::Simulator,
    world::{
        World,
        model::{Build, Definition, Project},
        uuid_of,
    },
};

/// Sets a key only when there is a value: what is unknown is absent on the wire, not null.
pub(super) fn set(map: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        map.insert(key.to_owned(), value.into());
    }
}

fn map(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value {
        map
    } else {
        Map::new()
    }
}

/// The project as it appears inside other things.
pub(super) fn project_reference(simulator: &Simulator, project: &Project) -> Value {
    json!({
        "id": project.id,
        "name": project.name,
        "description": project.description,
        "url": simulator.core_link(&format!("/_apis/projects/{}", project.id)),
        "state": "wellFormed",
        "revision": 28,
        "visibility": project.visibility,
        "lastUpdateTime": wire(project.updated),
    })
}

pub(super) fn definition_reference(
    simulator: &Simulator,
    definition: &Definition,
    project: &Project,
) -> Value {
    json!({
        "drafts": [],
        "id": definition.id,
        "name": definition.name,
        "url": simulator.core_link(&format!("/{}/_apis/build/Definitions/{}?revision={}", project.id, definition.id, definition.revision)),
        "uri": format!("vstfs:///Build/Definition/{}", definition.id),
        "path": definition.path,
        "type": "build",
        "queueStatus": definition.queue_status,
        "revision": definition.revision,
        "project": project_reference(simulator, project),
    })
}

/// The person-facing address of a build.
pub(super) fn build_web_link(simulator: &Simulator, project: &Project, build: u32) -> String {
    simulator.core_link(&format!("/{}/_build/results?buildId={build}", project.id))
}

fn queue() -> Value {
    json!({"id": 207, "name": "Azure Pipelines", "pool": {"id": 9, "name": "Azure Pipelines", "isHosted": true}})
}

/// A build with all the weight it has in the service.
pub(super) fn build(simulator: &Simulator, world: &World, build: &Build) -> Value {
    let Some((definition, project)) = world
        .definition_of(build)
        .and_then(|definition| Some((definition, world.project(&definition.project)?)))
    else {
        return Value::Null;
    };
    let base = format!("/{}/_apis/build/Builds/{}", project.id, build.id);
    let requested_for = identity_json(&build.requested_for);
    let mut view = map(json!({
        "_links": {
            "self": {"href": simulator.core_link(&base)},
            "web": {"href": build_web_link(simulator, project, build.id)},
            "sourceVersionDisplayUri": {"href": simulator.core_link(&format!("{base}/sources"))},
            "timeline": {"href": simulator.core_link(&format!("{base}/Timeline"))},
            "badge": {"href": simulator.core_link(&format!("/{}/_apis/build/status/{}", project.id, definition.id))},
        },
        "properties": {},
        "tags": build.tags,
        "validationResults": [],
        "plans": [{"planId": super::timeline::plan_id(build.id)}],
        "triggerInfo": {},
        "id": build.id,
        "buildNumber": build.number,
        "status": build.status,
        "queueTime": wire(build.queued),
        "url": simulator.core_link(&base),
        "definition": definition_reference(simulator, definition, project),
        "buildNumberRevision": 4,
        "project": project_reference(simulator, project),
        "uri": format!("vstfs:///Build/Build/{}", build.id),
        "sourceBranch": build.branch,
        "sourceVersion": build.version,
        "queue": queue(),
        "priority": "normal",
        "reason": build.reason,
        "requestedFor": requested_for,
        "requestedBy": {
            "displayName": "Microsoft.VisualStudio.Services.TFS",
            "id": "00000002-0000-8888-8000-000000000000",
            "uniqueName": "00000002-0000-8888-8000-000000000000@2c895908-04e0-4952-89fd-54b0046d6288",
        },
        "lastChangedDate": wire(build.finished.or(build.started).unwrap_or(build.queued)),
        "lastChangedBy": {"displayName": "Microsoft.VisualStudio.Services.TFS", "id": "00000002-0000-8888-8000-000000000000"},
        "orchestrationPlan": {"planId": super::timeline::plan_id(build.id)},
        "logs": {"id": 0, "type": "Container", "url": simulator.core_link(&format!("{base}/logs"))},
        "repository": {
            "id": project.repository_id(),
            "type": "TfsGit",
            "name": project.name,
            "url": simulator.core_link(&format!("/{}/_git/{}", project.name, project.name)),
            "clean": null,
            "checkoutSubmodules": false,
        },
        "retainedByRelease": false,
        "triggeredByBuild": null,
        "appendCommitMessageToRunName": true,
    }));
    set(&mut view, "result", build.result.clone());
    set(&mut view, "startTime", build.started.map(wire));
    set(&mut view, "finishTime", build.finished.map(wire));
    if !build.template_parameters.is_empty() {
        view.insert("templateParameters".to_owned(), json!(build.template_parameters));
        // The value is a JSON document inside a string.
        view.insert(
            "parameters".to_owned(),
            json!(json!(build.template_parameters).to_string()),
        );
    }
    Value::Object(view)
}

/// A definition as lists show it.
pub(super) fn definition(
    simulator: &Simulator,
    world: &World,
    definition: &Definition,
    with_latest: bool,
    with_all: bool,
) -> Value {
    let Some(project) = world.project(&definition.project) else {
        return Value::Null;
    };
    let mut view = map(definition_reference(simulator, definition, project));
    view.insert("quality".to_owned(), json!("definition"));
    view.insert("createdDate".to_owned(), json!(wire(definition.created)));
    view.insert("authoredBy".to_owned(), identity_json(&crate::people::BEN.into()));
    view.insert("queue".to_owned(), queue());
    view.insert(
        "_links".to_owned(),
        json!({"web": {"href": simulator.core_link(&format!("/{}/_build/definition?definitionId={}", project.id, definition.id))}}),
    );
    if with_latest {
        let of_definition = || {
            world
                .builds
                .values()
                .rev()
                .filter(|build| build.definition == definition.id)
        };
        set(
            &mut view,
            "latestBuild",
            of_definition()
                .next()
                .map(|latest| build(simulator, world, latest)),
        );
        let completed = of_definition().find(|build| build.is_completed());
        set(
            &mut view,
            "latestCompletedBuild",
            completed.map(|latest| build(simulator, world, latest)),
        );
    }
    if with_all {
        view.insert(
            "process".to_owned(),
            json!({"yamlFilename": definition.yaml.trim_start_matches('/'), "type": 2}),
        );
        view.insert(
            "repository".to_owned(),
            json!({"id": project.repository_id(), "type": "TfsGit", "name": project.name, "defaultBranch": "refs/heads/main"}),
        );
        view.insert(
            "variables".to_owned(),
            json!({"imageName": {"value": "shop", "allowOverride": true}}),
        );
    }
    Value::Object(view)
}

/// A pipeline as the newer API shows it.
pub(super) fn pipeline(simulator: &Simulator, definition: &Definition, project: &Project) -> Value {
    let path = format!(
        "/{}/_apis/pipelines/{}?revision={}",
        project.id, definition.id, definition.revision
    );
    json!({
        "_links": {
            "self": {"href": simulator.core_link(&path)},
            "web": {"href": simulator.core_link(&format!("/{}/_build/definition?definitionId={}", project.id, definition.id))},
        },
        "url": simulator.core_link(&path),
        "id": definition.id,
        "revision": definition.revision,
        "name": definition.name,
        "folder": definition.path,
    })
}

/// A run: the newer API's view of a build, with `canceling` where builds say `cancelling`.
pub(super) fn run(
    simulator: &Simulator,
    build: &Build,
    definition: &Definition,
    project: &Project,
    whole: bool,
) -> Value {
    let path = format!(
        "/{}/_apis/pipelines/{}/runs/{}",
        project.id, definition.id, build.id
    );
    let state = match build.status.to_ascii_lowercase().as_str() {
        "completed" => "completed",
        "cancelling" => "canceling",
        "inprogress" | "notstarted" | "postponed" => "inProgress",
        _ => "unknown",
    };
    let mut view = map(json!({
        "_links": {
            "self": {"href": simulator.core_link(&path)},
            "web": {"href": build_web_link(simulator, project, build.id)},
            "pipeline": {"href": simulator.core_link(&format!("/{}/_apis/pipelines/{}", project.id, definition.id))},
        },
        "pipeline": {
            "url": simulator.core_link(&format!("/{}/_apis/pipelines/{}?revision={}", project.id, definition.id, definition.revision)),
            "id": definition.id,
            "revision": definition.revision,
            "name": definition.name,
            "folder": definition.path,
        },
        "state": state,
        "createdDate": wire(build.queued),
        "url": simulator.core_link(&path),
        "id": build.id,
        "name": build.number,
    }));
    let result = build
        .result
        .as_deref()
        .map(|result| match result.to_ascii_lowercase().as_str() {
            "succeeded" | "partiallysucceeded" => "succeeded",
            "failed" => "failed",
            "canceled" => "canceled",
            _ => "unknown",
        });
    set(&mut view, "result", result);
    set(&mut view, "finishedDate", build.finished.map(wire));
    if whole {
        view.insert("templateParameters".to_owned(), json!(build.template_parameters));
        view.insert("variables".to_owned(), json!({}));
        view.insert(
            "resources".to_owned(),
            json!({"repositories": {"self": {
                "repository": {"id": project.repository_id(), "type": "azureReposGit"},
                "refName": build.branch,
                "version": build.version,
            }}}),
        );
    }
    Value::Object(view)
}

/// An id of a log or artifact address that works without a token: no server may pass it on.
pub(super) fn signed_content(simulator: &Simulator, what: &str) -> Value {
    let now = simulator.clock.now();
    let expires = now
        .checked_add(jiff::SignedDuration::from_hours(1))
        .unwrap_or(now);
    json!({
        "url": format!("https://artprodweu1.artifacts.visualstudio.com/_apis/artifact/{}/content?sig=FAKE-signature-{}", uuid_of(what), uuid_of(&format!("{what} signature"))),
        "signatureExpires": wire(expires),
    })
}
