//! Builds: list, one, latest, changes, report, artifacts.

use std::{cmp::Reverse, sync::Arc};

use axum::{extract::Path, response::IntoResponse};
use jiff::Timestamp;
use serde_json::json;

use super::{Answer, views};
use crate::azure_devops::{
    ask::{Area, Ask, identity_json, number},
    clock::wire,
    error::ServiceError,
    query::Query,
    reply::{self, Page},
    state::Simulator,
    world::{commit_of, model::Build, uuid_of},
};

const STATUSES: [&str; 7] = [
    "none",
    "inProgress",
    "completed",
    "cancelling",
    "postponed",
    "notStarted",
    "all",
];
const RESULTS: [&str; 5] = ["none", "succeeded", "partiallySucceeded", "failed", "canceled"];
const REASONS: [&str; 14] = [
    "none",
    "manual",
    "individualCI",
    "batchedCI",
    "schedule",
    "scheduleForced",
    "userCreated",
    "validateShelveset",
    "checkInShelveset",
    "pullRequest",
    "buildCompletion",
    "resourceTrigger",
    "triggered",
    "all",
];
const ORDERS: [&str; 6] = [
    "finishTimeAscending",
    "finishTimeDescending",
    "queueTimeAscending",
    "queueTimeDescending",
    "startTimeAscending",
    "startTimeDescending",
];

/// Follows the real part of a continuation token. A client that forgets to encode it loses a part at `&` or
/// `#`, turns `+` into a space or decodes `%2F` once too often, and gets 400.
const HOSTILE: &str = "+/=&top=1%2F#\"<>;";

/// A field of builds that lists can be ordered by.
fn field_of(order: &str) -> fn(&Build) -> Option<Timestamp> {
    if order.starts_with("finish") {
        |build| build.finished
    } else if order.starts_with("start") {
        |build| build.started
    } else {
        |build| Some(build.queued)
    }
}

pub(super) async fn list(ask: Ask, Path((_, project)): Path<(String, String)>) -> Answer {
    let query = &ask.query;
    let definitions: Vec<u32> = query.list("definitions")?;
    let ids: Vec<u32> = query.list("buildids")?;
    let queues: Vec<u32> = query.list("queues")?;
    let statuses = query.choices("statusfilter", &STATUSES)?;
    let results = query.choices("resultfilter", &RESULTS)?;
    let reasons = query.choices("reasonfilter", &REASONS)?;
    let order = query.choice("queryorder", &ORDERS)?;
    let (after, before) = (query.time("mintime")?, query.time("maxtime")?);
    let deleted = query.choice(
        "deletedfilter",
        &["excludeDeleted", "includeDeleted", "onlyDeleted"],
    )? == Some("onlyDeleted");
    let tags: Vec<String> = query.list("tagfilters")?;
    let per_definition: Option<usize> = query.value("maxbuildsperdefinition")?;
    let size = query.page_size("$top", 1_000, 5_000)?;
    let offset = query.get("continuationtoken").map_or(Ok(0), offset_of)?;
    let field = field_of(order.unwrap_or("finishTimeDescending"));
    let simulator = Arc::clone(&ask.simulator);

    ask.with(|state| {
        let world = &state.world;
        let project = ask.project(world, &project, Area::Build)?;
        let one_of = |filter: &[&str], value: Option<&str>| {
            filter.is_empty()
                || filter.contains(&"all")
                || value.is_some_and(|value| filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value)))
        };
        let mut builds: Vec<&Build> = world
            .builds
            .values()
            .filter(|build| ask.definition(world, project, build.definition).is_some())
            .filter(|build| definitions.is_empty() || definitions.contains(&build.definition))
            .filter(|build| ids.is_empty() || ids.contains(&build.id))
            .filter(|_| queues.is_empty() || queues.contains(&207))
            .filter(|build| one_of(&statuses, Some(&build.status)))
            .filter(|build| one_of(&results, build.result.as_deref()))
            .filter(|build| one_of(&reasons, Some(&build.reason)))
            .filter(|build| {
                query
                    .get("branchname")
                    .is_none_or(|branch| prefixed(branch, &build.branch))
            })
            .filter(|build| {
                query
                    .get("buildnumber")
                    .is_none_or(|wanted| prefixed(wanted, &build.number))
            })
            .filter(|build| query.get("requestedfor").is_none_or(|who| is_for(build, who)))
            .filter(|build| tags.iter().all(|tag| build.tags.contains(tag)))
            .filter(|build| after.is_none_or(|after| field(build).is_some_and(|time| time >= after)))
            .filter(|build| before.is_none_or(|before| field(build).is_some_and(|time| time <= before)))
            .filter(|_| !deleted)
            .collect();
        sort(&mut builds, order);
        if let Some(most) = per_definition {
            let mut seen = std::collections::BTreeMap::<u32, usize>::new();
            builds.retain(|build| {
                let count = seen.entry(build.definition).or_default();
                *count += 1;
                *count <= most
            });
        }
        let times: Vec<Timestamp> = builds
            .iter()
            .map(|build| field(build).unwrap_or(build.queued))
            .collect();
        let items = builds
            .into_iter()
            .map(|build| views::build(&simulator, world, build))
            .collect();
        let page = Page::cut(items, offset, size, |next| {
            let time = times.get(next).map(|time| wire(*time)).unwrap_or_default();
            format!("{time}@{next}{HOSTILE}")
        });
        Ok(page.into_response())
    })
}

/// Without an order, finished builds come first: the running ones fall off a short first page.
fn sort(builds: &mut [&Build], order: Option<&str>) {
    match order {
        None => builds.sort_by_key(|build| {
            (
                build.finished.is_none(),
                Reverse(build.finished),
                Reverse(build.id),
            )
        }),
        Some(order) => {
            let field = field_of(order);
            if order.ends_with("Ascending") {
                builds.sort_by_key(|build| (field(build).is_none(), field(build), build.id));
            } else {
                builds
                    .sort_by_key(|build| (field(build).is_none(), Reverse(field(build)), Reverse(build.id)));
            }
        }
    }
}

fn offset_of(token: &str) -> Result<usize, ServiceError> {
    token
        .strip_suffix(HOSTILE)
        .and_then(|token| token.split_once('@'))
        .and_then(|(_, offset)| offset.parse().ok())
        .ok_or_else(|| ServiceError::invalid_argument("The continuation token is not valid."))
}

/// Equal, or a prefix when the wanted text ends with `*`.
fn prefixed(wanted: &str, value: &str) -> bool {
    wanted
        .strip_suffix('*')
        .map_or(wanted == value, |prefix| value.starts_with(prefix))
}

fn is_for(build: &Build, who: &str) -> bool {
    let person = &build.requested_for;
    [&person.display_name, &person.unique_name, &person.id]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(who))
}

pub(super) async fn get(ask: Ask, Path((_, project, build)): Path<(String, String, String)>) -> Answer {
    let id = number("buildId", &build)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Build)?;
        let (build, _) = ask.build(&state.world, project, id)?;
        Ok(reply::json_response(&views::build(
            &ask.simulator,
            &state.world,
            build,
        )))
    })
}

pub(super) async fn latest(
    ask: Ask,
    Path((_, project, definition)): Path<(String, String, String)>,
) -> Answer {
    ask.with(|state| {
        let world = &state.world;
        let project = ask.project(world, &project, Area::Build)?;
        // The path contains the definition's id or its name.
        let found = world
            .definitions
            .values()
            .filter(|candidate| candidate.project == project.name && ask.sees(candidate))
            .find(|candidate| {
                definition.parse() == Ok(candidate.id) || candidate.name.eq_ignore_ascii_case(&definition)
            })
            .ok_or_else(|| ServiceError::definition_not_found(&definition))?;
        let branch = ask.query.get("branchname").map(full_ref);
        let latest = world
            .builds
            .values()
            .rev()
            .filter(|build| build.definition == found.id && build.is_completed())
            .find(|build| branch.as_ref().is_none_or(|branch| &build.branch == branch))
            .ok_or_else(|| ServiceError::build_not_found(format!("of {}", found.label())))?;
        Ok(reply::json_response(&views::build(&ask.simulator, world, latest)))
    })
}

fn full_ref(branch: &str) -> String {
    if branch.starts_with("refs/") {
        branch.to_owned()
    } else {
        format!("refs/heads/{branch}")
    }
}

pub(super) async fn changes(ask: Ask, Path((_, project, build)): Path<(String, String, String)>) -> Answer {
    let id: u32 = number("buildId", &build)?;
    let size = ask.query.page_size("$top", 50, 200)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Build)?;
        let (build, _) = ask.build(&state.world, project, id)?;
        let changes = (1..=2).map(|index| change(build, index)).take(size).collect();
        Ok(Page::whole(changes).into_response())
    })
}

pub(super) async fn changes_between(ask: Ask, Path((_, project)): Path<(String, String)>) -> Answer {
    let bound = |query: &Query, name: &str| {
        query
            .value::<u32>(name)?
            .ok_or_else(|| ServiceError::invalid_argument(format!("{name} is required.")))
    };
    let (from, to) = (bound(&ask.query, "frombuildid")?, bound(&ask.query, "tobuildid")?);
    let size = ask.query.page_size("$top", 50, 200)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Build)?;
        ask.build(&state.world, project, from)?;
        ask.build(&state.world, project, to)?;
        let between = state
            .world
            .builds
            .values()
            .filter(|build| build.id > from && build.id <= to)
            .filter(|build| ask.definition(&state.world, project, build.definition).is_some());
        Ok(Page::whole(between.map(|build| change(build, 1)).take(size).collect()).into_response())
    })
}

fn change(build: &Build, index: u32) -> serde_json::Value {
    let words = [
        "Basket: show the reduced price",
        "Checkout: ask for the house number",
        "Prices: round half to even",
    ];
    let message = words
        .get((build.id as usize + index as usize) % words.len())
        .copied()
        .unwrap_or_default();
    json!({
        "id": if index == 1 { build.version.clone() } else { commit_of(&format!("{} {index}", build.version)) },
        "message": message,
        "type": "TfsGit",
        "author": identity_json(&build.requested_for),
        "timestamp": wire(build.queued),
        "location": format!("https://dev.azure.com/contoso/_apis/git/commits/{}", build.version),
    })
}

pub(super) async fn report(ask: Ask, Path((_, project, build)): Path<(String, String, String)>) -> Answer {
    let id = number("buildId", &build)?;
    let kind = ask.query.get("type").unwrap_or("html").to_owned();
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Build)?;
        let (build, definition) = ask.build(&state.world, project, id)?;
        let result = build.result.as_deref().unwrap_or(&build.status);
        Ok(reply::json_response(&json!({
            "buildId": id,
            "content": format!("<h1>{} {}: {result}</h1>", definition.name, build.number),
            "type": kind,
        })))
    })
}

pub(super) async fn artifacts(ask: Ask, Path((_, project, build)): Path<(String, String, String)>) -> Answer {
    let id = number("buildId", &build)?;
    ask.with(|state| {
        let project = ask.project(&state.world, &project, Area::Build)?;
        let (build, _) = ask.build(&state.world, project, id)?;
        let drop = artifact(&ask.simulator, build.id);
        let has_one = build.result.as_deref() == Some("succeeded");
        Ok(Page::whole(if has_one { vec![drop] } else { Vec::new() }).into_response())
    })
}

fn artifact(simulator: &Simulator, build: u32) -> serde_json::Value {
    let signed = views::signed_content(simulator, &format!("artifact {build}"));
    json!({
        "id": 5,
        "name": "drop",
        "source": uuid_of(&format!("artifact source {build}")),
        "resource": {
            "type": "PipelineArtifact",
            "data": uuid_of(&format!("artifact data {build}")),
            "properties": {"artifactsize": "1048576", "HashType": "DEDUP1024K"},
            "url": simulator.core_link(&format!("/_apis/build/builds/{build}/artifacts?artifactName=drop")),
            "downloadUrl": signed.get("url"),
        },
    })
}
