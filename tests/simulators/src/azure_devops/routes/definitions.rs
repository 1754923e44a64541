//! Build definitions.

use std::cmp::Reverse;

use axum::{extract::Path, response::IntoResponse};

use super::{Answer, views};
use crate::azure_devops::{
    ask::{Area, Ask, number},
    error::ServiceError,
    query::matches_wildcard,
    reply::{self, Page},
    world::model::Definition,
};

const ORDERS: [&str; 5] = [
    "none",
    "lastModifiedAscending",
    "lastModifiedDescending",
    "definitionNameAscending",
    "definitionNameDescending",
];

pub(super) async fn list(ask: Ask, Path((_, project)): Path<(String, String)>) -> Answer {
    let query = &ask.query;
    let ids: Vec<u32> = query.list("definitionids")?;
    let order = query.choice("queryorder", &ORDERS)?;
    let (built_after, not_built_after) = (query.time("builtafter")?, query.time("notbuiltafter")?);
    let (with_latest, with_all) = (
        query.flag("includelatestbuilds")?,
        query.flag("includeallproperties")?,
    );
    let size = query.page_size("$top", 10_000, 10_000)?;
    let offset: usize = query.value("continuationtoken")?.unwrap_or(0);
    if query.get("yamlfilename").is_some() && !with_all {
        return Err(ServiceError::invalid_argument(
            "yamlFilename needs includeAllProperties=true.",
        ));
    }
    if query.get("repositoryid").is_some() && query.get("repositorytype").is_none() {
        return Err(ServiceError::invalid_argument(
            "repositoryId needs repositoryType.",
        ));
    }
    ask.with(|state| {
        let world = &state.world;
        let project = ask.project(world, &project, Area::Build)?;
        let last_build = |definition: &Definition| {
            world
                .builds
                .values()
                .filter(|build| build.definition == definition.id)
                .map(|build| build.queued)
                .max()
        };
        let mut found: Vec<&Definition> = world
            .definitions
            .values()
            .filter(|definition| definition.project == project.name && ask.sees(definition))
            .filter(|definition| {
                query
                    .get("name")
                    .is_none_or(|name| matches_wildcard(name, &definition.name))
            })
            .filter(|definition| {
                query
                    .get("path")
                    .is_none_or(|path| path.eq_ignore_ascii_case(&definition.path))
            })
            .filter(|definition| ids.is_empty() || ids.contains(&definition.id))
            .filter(|_| {
                query
                    .get("repositoryid")
                    .is_none_or(|id| id == project.repository_id())
            })
            .filter(|_| {
                query
                    .get("repositorytype")
                    .is_none_or(|kind| kind.eq_ignore_ascii_case("TfsGit"))
            })
            .filter(|definition| {
                query.get("yamlfilename").is_none_or(|name| {
                    name.trim_start_matches('/') == definition.yaml.trim_start_matches('/')
                })
            })
            .filter(|definition| {
                built_after.is_none_or(|time| last_build(definition).is_some_and(|last| last >= time))
            })
            .filter(|definition| {
                not_built_after.is_none_or(|time| last_build(definition).is_none_or(|last| last < time))
            })
            .collect();
        match order {
            Some("definitionNameAscending") => found.sort_by_key(|definition| definition.name.to_lowercase()),
            Some("definitionNameDescending") => {
                found.sort_by_key(|definition| Reverse(definition.name.to_lowercase()));
            }
            Some("lastModifiedAscending") => found.sort_by_key(|definition| definition.created),
            Some("lastModifiedDescending") => found.sort_by_key(|definition| Reverse(definition.created)),
            _ => {}
        }
        let items = found
            .into_iter()
            .map(|definition| views::definition(&ask.simulator, world, definition, with_latest, with_all))
            .collect();
        Ok(Page::cut(items, offset, size, |next| next.to_string()).into_response())
    })
}

pub(super) async fn get(ask: Ask, Path((_, project, definition)): Path<(String, String, String)>) -> Answer {
    let id = number("definitionId", &definition)?;
    let with_latest = ask.query.flag("includelatestbuilds")?;
    ask.with(|state| {
        ask.project(&state.world, &project, Area::Build)?;
        let definition = ask
            .definition_by_id(&state.world, id)
            .ok_or_else(|| ServiceError::definition_not_found(id))?;
        Ok(reply::json_response(&views::definition(
            &ask.simulator,
            &state.world,
            definition,
            with_latest,
            true,
        )))
    })
}
