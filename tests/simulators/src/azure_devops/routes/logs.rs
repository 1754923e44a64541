//! Logs: the list with line counts, and ranges as text or JSON. Nothing is held in memory: a log of any
//! size goes out in pieces that are made as the client reads.

use axum::{
    body::{Body, Bytes},
    extract::Path,
    response::{IntoResponse, Response},
};
use futures::stream;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, views};
use crate::azure_devops::{
    ask::{Area, Ask, number},
    clock::wire,
    error::ServiceError,
    reply::{self, Page},
    state::Settings,
    world::{log::Log, story},
};

/// Lines made at a time.
const LINES_PER_PIECE: u64 = 500;

pub(super) async fn list(ask: Ask, Path((_, project, build)): Path<(String, String, String)>) -> Answer {
    let id: u32 = number("buildId", &build)?;
    let logs = logs_of(&ask, &project, id)?;
    if ask.accepts("application/zip") {
        return Err(ServiceError::model(
            "The simulator does not pack logs into an archive; ask for JSON.",
        ));
    }
    let items = logs
        .iter()
        .map(|log| {
            json!({
                "lineCount": log.line_count(),
                "createdOn": wire(log.created),
                "lastChangedOn": wire(log.changed()),
                "id": log.id,
                "type": "Container",
                "url": ask.simulator.core_link(&format!("/_apis/build/Builds/{id}/logs/{}", log.id)),
            })
        })
        .collect();
    Ok(Page::whole(items).into_response())
}

pub(super) async fn of_run(
    ask: Ask,
    Path((_, project, _pipeline, run)): Path<(String, String, String, String)>,
) -> Answer {
    let id: u32 = number("runId", &run)?;
    let signed = ask.query.choice("$expand", &["none", "signedContent"])? == Some("signedContent");
    let logs: Vec<Value> = logs_of(&ask, &project, id)?
        .iter()
        .map(|log| {
            let mut view = json!({
                "createdOn": wire(log.created),
                "lastChangedOn": wire(log.changed()),
                "id": log.id,
                "lineCount": log.line_count(),
                "url": ask.simulator.core_link(&format!("/_apis/pipelines/runs/{id}/logs/{}", log.id)),
            });
            if signed && let Some(view) = view.as_object_mut() {
                let content = views::signed_content(&ask.simulator, &format!("log {id} {}", log.id));
                view.insert("signedContent".to_owned(), content);
            }
            view
        })
        .collect();
    Ok(reply::json_response(
        &json!({"logs": logs, "url": ask.simulator.core_link(&format!("/_apis/pipelines/runs/{id}/logs"))}),
    ))
}

fn logs_of(ask: &Ask, project: &str, build: u32) -> Result<Vec<Log>, ServiceError> {
    ask.with(|state| {
        let project = ask.project(&state.world, project, Area::Build)?;
        let (build, _) = ask.build(&state.world, project, build)?;
        Ok(story::progress(&state.world, build).logs)
    })
}

pub(super) async fn get(
    ask: Ask,
    Path((_, project, build, log)): Path<(String, String, String, String)>,
) -> Answer {
    let id: u32 = number("buildId", &build)?;
    let log_id: u32 = number("logId", &log)?;
    let log = logs_of(&ask, &project, id)?
        .into_iter()
        .find(|log| log.id == log_id)
        .ok_or_else(|| {
            ServiceError::not_found(
                "BuildLogNotFoundException",
                format!("Log {log_id} of build {id} could not be found."),
            )
        })?;
    let settings = ask.with(|state| state.settings);
    let (from, to) = range(&ask, &log, &settings)?;
    Ok(if ask.prefers_text() {
        text_lines(log, from, to)
    } else {
        json_lines(log, from, to)
    })
}

/// Indexes of the first line and of the one after the last. A range outside of the log is empty.
fn range(ask: &Ask, log: &Log, settings: &Settings) -> Result<(u64, u64), ServiceError> {
    let index = |line: u64| line.saturating_sub(settings.first_log_line);
    let from = ask.query.value::<u64>("startline")?.map_or(0, index);
    let to = ask.query.value::<u64>("endline")?.map_or(u64::MAX, |line| {
        index(line).saturating_add(u64::from(settings.end_line_inclusive))
    });
    let to = to.min(log.line_count());
    Ok((from.min(to), to))
}

/// Pieces of `line_count` lines, each written by `write`.
fn pieces(
    log: Log,
    from: u64,
    to: u64,
    write: impl Fn(&mut String, u64, &str) + Send + 'static,
) -> impl Iterator<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static {
    let mut next = from;
    std::iter::from_fn(move || {
        if next >= to {
            return None;
        }
        let end = next.saturating_add(LINES_PER_PIECE).min(to);
        let mut piece = String::new();
        for index in next..end {
            write(&mut piece, index, &log.line(index).unwrap_or_default());
        }
        next = end;
        Some(Ok(Bytes::from(piece)))
    })
}

fn text_lines(log: Log, from: u64, to: u64) -> Response {
    let pieces = pieces(log, from, to, |piece, _, line| {
        piece.push_str(line);
        piece.push('\n');
    });
    reply::typed(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        Body::from_stream(stream::iter(pieces)),
    )
}

fn json_lines(log: Log, from: u64, to: u64) -> Response {
    let head = Ok(Bytes::from(format!(
        "{{\"count\":{},\"value\":[",
        to.saturating_sub(from)
    )));
    let tail = Ok(Bytes::from_static(b"]}"));
    let pieces = pieces(log, from, to, move |piece, index, line| {
        if index > from {
            piece.push(',');
        }
        piece.push_str(&Value::from(line).to_string());
    });
    let body = Body::from_stream(stream::iter(
        std::iter::once(head).chain(pieces).chain(std::iter::once(tail)),
    ));
    reply::typed(
        StatusCode::OK,
        "application/json; charset=utf-8; api-version=7.1",
        body,
    )
}
