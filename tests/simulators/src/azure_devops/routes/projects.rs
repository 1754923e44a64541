//! Projects, and who the service thinks one is.

use axum::{extract::Path, response::IntoResponse};
use serde_json::json;

use super::{Answer, views};
use crate::azure_devops::{
    ask::{Area, Ask},
    reply::{self, Page},
    world::uuid_of,
};

const STATES: [&str; 7] = [
    "all",
    "wellFormed",
    "createPending",
    "deleting",
    "deleted",
    "new",
    "unchanged",
];

pub(super) async fn list(ask: Ask) -> Answer {
    let query = &ask.query;
    let state_filter = query.choice("statefilter", &STATES)?;
    let size = query.page_size("$top", 100, 1_000)?;
    // The continuation token of this list is a number of entries, like $skip.
    let skip: usize = query.value("$skip")?.unwrap_or(0);
    let offset: usize = query.value("continuationtoken")?.unwrap_or(skip);
    let exists = matches!(state_filter, None | Some("all" | "wellFormed"));
    ask.with(|state| {
        let items = state
            .world
            .projects
            .iter()
            .filter(|project| exists && ask.caller.permissions.projects.contains(&project.name))
            .map(|project| views::project_reference(&ask.simulator, project))
            .collect();
        Ok(Page::cut(items, offset, size, |next| next.to_string()).into_response())
    })
}

pub(super) async fn get(ask: Ask, Path((_, project)): Path<(String, String)>) -> Answer {
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Other)?;
        Ok(reply::json_response(&views::project_reference(
            &ask.simulator,
            project,
        )))
    })
}

pub(super) async fn connection_data(ask: Ask) -> Answer {
    let identity = ask.caller.identity();
    let user = json!({
        "id": identity.id,
        "descriptor": format!("Microsoft.IdentityModel.Claims.ClaimsIdentity;{}\\{}", ask.simulator.verifier.tenant_id(), identity.unique_name),
        "providerDisplayName": identity.display_name,
        "isActive": true,
        "properties": {"Account": {"$type": "System.String", "$value": identity.unique_name}},
    });
    Ok(reply::json_response(&json!({
        "authenticatedUser": user,
        "authorizedUser": user,
        "instanceId": uuid_of("organization contoso"),
        "deploymentType": "hosted",
        "locationServiceData": {"serviceOwner": "00025394-6065-48ca-87d9-7f5672854ef7"},
    })))
}
