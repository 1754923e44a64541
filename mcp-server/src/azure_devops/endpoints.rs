//! The calls of the API that the tools need.

use http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use super::answer_budget::Taken;
use super::call::{Call, Parsed, Request};
use super::error::Failure;
use super::failure::Wanted;
use super::service;
use super::wire::{Build, Definition, Deployment, List, Log, Run, Timeline};

const VERSION: (&str, &str) = ("api-version", "7.1");

/// A good status without a body, where one must be.
const NOTHING: Failure = Failure::Malformed("it has no body");

/// Which builds to list.
#[derive(Debug, Default)]
pub(crate) struct BuildQuery<'query> {
    pub(crate) definition: Option<i64>,
    pub(crate) status: Option<&'query str>,
    pub(crate) result: Option<&'query str>,
    pub(crate) top: usize,
    pub(crate) continuation: Option<&'query str>,
}

/// Which deployments to list.
#[derive(Debug, Default)]
pub(crate) struct DeploymentQuery<'query> {
    pub(crate) status: Option<&'query str>,
    pub(crate) top: usize,
    pub(crate) continuation: Option<&'query str>,
}

/// A part of a list.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Leads to the next part; opaque.
    pub(crate) continuation: Option<String>,
    /// The memory reserved for `items`.
    pub(crate) _taken: Option<Taken>,
}

/// A run to queue.
#[derive(Debug)]
pub(crate) struct RunRequest<'run> {
    pub(crate) pipeline: i64,
    /// Full reference name; the pipeline's default branch when absent.
    pub(crate) reference: Option<&'run str>,
    /// Text to text, which is all the service takes.
    pub(crate) parameters: &'run serde_json::Map<String, Value>,
}

/// The end of a log.
#[derive(Debug)]
pub(crate) struct LogText {
    pub(crate) text: String,
    /// The text does not begin where it was asked to.
    pub(crate) cut: bool,
}

impl Call {
    /// Builds, newest first by the time they were queued: the service's own order puts completed ones first
    /// and may hide what runs.
    pub(crate) async fn builds(&self, project: &str, query: &BuildQuery<'_>) -> Result<Page<Build>, Failure> {
        let definition = query.definition.map(|id| id.to_string());
        let top = query.top.to_string();
        let mut pairs = vec![
            VERSION,
            ("queryOrder", "queueTimeDescending"),
            ("$top", top.as_str()),
        ];
        let optional = [
            ("definitions", definition.as_deref()),
            ("statusFilter", query.status),
            ("resultFilter", query.result),
            ("continuationToken", query.continuation),
        ];
        pairs.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let address = self.core(project, &["_apis", "build", "builds"], &pairs)?;
        self.page(project, "the list of pipeline runs", address).await
    }

    /// One build.
    pub(crate) async fn build(&self, project: &str, id: i64) -> Result<Build, Failure> {
        let what = format!("pipeline run {id}");
        let address = self.core(
            project,
            &["_apis", "build", "builds", &id.to_string()],
            &[VERSION],
        )?;
        let build = self.keep_json(&get(project, &what, address)).await?;
        build.ok_or(NOTHING)
    }

    /// What a build did; with `timeline` an earlier attempt. A build that has not begun has no records.
    pub(crate) async fn timeline(
        &self,
        project: &str,
        build: i64,
        timeline: Option<&str>,
    ) -> Result<Timeline, Failure> {
        let what = format!("the timeline of pipeline run {build}");
        let id = build.to_string();
        let mut segments = vec!["_apis", "build", "builds", &id, "timeline"];
        segments.extend(timeline);
        let address = self.core(project, &segments, &[VERSION])?;
        let timeline = self
            .keep_json::<Option<Timeline>>(&get(project, &what, address))
            .await?;
        Ok(timeline.flatten().unwrap_or_default())
    }

    /// The logs of a build with their lengths.
    pub(crate) async fn logs(&self, project: &str, build: i64) -> Result<Vec<Log>, Failure> {
        let what = format!("the logs of pipeline run {build}");
        let address = self.core(
            project,
            &["_apis", "build", "builds", &build.to_string(), "logs"],
            &[VERSION],
        )?;
        let list = self.keep_json::<List<Log>>(&get(project, &what, address)).await?;
        Ok(list.map(|list| list.value).unwrap_or_default())
    }

    /// A log from `start_line` to its end.
    pub(crate) async fn log(
        &self,
        project: &str,
        build: i64,
        log: i64,
        start_line: Option<i64>,
    ) -> Result<LogText, Failure> {
        let what = format!("log {log} of pipeline run {build}");
        let start = start_line.map(|line| line.to_string());
        let mut pairs = vec![VERSION];
        pairs.extend(start.as_deref().map(|line| ("startLine", line)));
        let segments = [
            "_apis",
            "build",
            "builds",
            &build.to_string(),
            "logs",
            &log.to_string(),
        ];
        let address = self.core(project, &segments, &pairs)?;
        let request = Request {
            wanted: Wanted::Text,
            ..get(project, &what, address)
        };
        let mut answer = self.send(&request).await?;
        answer.taken.shrink_to(answer.body.len());
        self.keep(answer.taken).await;
        let text = String::from_utf8_lossy(super::failure::without_bom(&answer.body)).into_owned();
        Ok(LogText {
            text,
            cut: answer.cut,
        })
    }

    /// One pipeline, with the project that owns it.
    pub(crate) async fn definition(&self, project: &str, id: i64) -> Result<Definition, Failure> {
        let what = format!("pipeline {id}");
        let segments = ["_apis", "build", "definitions", &id.to_string()];
        let address = self.core(project, &segments, &[VERSION])?;
        let definition = self.keep_json(&get(project, &what, address)).await?;
        definition.ok_or(NOTHING)
    }

    /// Queues a run. It is sent once: no answer does not mean no run.
    pub(crate) async fn run(&self, project: &str, run: &RunRequest<'_>) -> Result<Run, Failure> {
        let what = format!("pipeline {}", run.pipeline);
        let mut body = json!({});
        if let Some(reference) = run.reference {
            body["resources"] = json!({"repositories": {"self": {"refName": reference}}});
        }
        if !run.parameters.is_empty() {
            body["templateParameters"] = Value::Object(run.parameters.clone());
        }
        let segments = ["_apis", "pipelines", &run.pipeline.to_string(), "runs"];
        let address = self.core(project, &segments, &[VERSION])?;
        let request = Request {
            method: Method::POST,
            body: Some(&body),
            ..get(project, &what, address)
        };
        let run = self.keep_json(&request).await.map_err(|failure| match failure {
            // The service said yes; what it said beside that is lost.
            Failure::Malformed(_) | Failure::TooLarge => Failure::OutcomeUnknown,
            other => other,
        })?;
        run.ok_or(Failure::OutcomeUnknown)
    }

    /// Classic deployments, newest first.
    pub(crate) async fn deployments(
        &self,
        project: &str,
        query: &DeploymentQuery<'_>,
    ) -> Result<Page<Deployment>, Failure> {
        let top = query.top.to_string();
        let mut pairs = vec![VERSION, ("queryOrder", "descending"), ("$top", top.as_str())];
        let optional = [
            ("deploymentStatus", query.status),
            ("continuationToken", query.continuation),
        ];
        pairs.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let release = &self.service.shared.options.endpoints.release;
        let segments = [
            self.service.organization(),
            project,
            "_apis",
            "release",
            "deployments",
        ];
        let address = service::address(release, &segments, &pairs)?;
        self.page(project, "the list of deployments", address).await
    }

    fn core(&self, project: &str, segments: &[&str], query: &[(&str, &str)]) -> Result<Url, Failure> {
        let mut all = vec![self.service.organization(), project];
        all.extend(segments);
        service::address(&self.service.shared.options.endpoints.core, &all, query)
    }

    async fn page<T: DeserializeOwned>(
        &self,
        project: &str,
        what: &str,
        address: Url,
    ) -> Result<Page<T>, Failure> {
        let Parsed {
            headers,
            value: list,
            taken,
        } = self.json::<List<T>>(&get(project, what, address)).await?;
        // An empty list is a list; no body at all says nothing about what there is.
        let List { value: items } = list.ok_or(NOTHING)?;
        Ok(Page {
            items,
            continuation: continuation(&headers),
            _taken: Some(taken),
        })
    }
}

fn get<'request>(project: &'request str, what: &'request str, address: Url) -> Request<'request> {
    Request {
        method: Method::GET,
        address,
        wanted: Wanted::Json,
        body: None,
        project,
        what,
    }
}

fn continuation(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("x-ms-continuationtoken")?.as_bytes();
    let token = String::from_utf8_lossy(value).trim().to_owned();
    (!token.is_empty()).then_some(token)
}
