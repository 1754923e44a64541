//! The endpoints of the API that the tools need.

use http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use super::answer_budget::Reserved;
use super::call::{Call, Parsed};
use super::client;
use super::failure::Failure;
use super::transport::{self, Request, Wanted};
use super::wire::{Build, Definition, Deployment, List, Log, Run, Timeline};
use crate::metrics::Operation;

const VERSION: (&str, &str) = ("api-version", "7.1");

/// A successful answer has no body although the endpoint sends one.
const NO_BODY: Failure = Failure::Malformed("it has no body");

/// The filters of the list of builds.
#[derive(Debug, Default)]
pub(crate) struct BuildQuery<'query> {
    pub(crate) definition: Option<i64>,
    pub(crate) status: Option<&'query str>,
    pub(crate) result: Option<&'query str>,
    pub(crate) top: usize,
    pub(crate) continuation: Option<&'query str>,
}

/// The filters of the list of deployments.
#[derive(Debug, Default)]
pub(crate) struct DeploymentQuery<'query> {
    pub(crate) status: Option<&'query str>,
    pub(crate) top: usize,
    pub(crate) continuation: Option<&'query str>,
}

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Opaque token of the next page.
    pub(crate) continuation: Option<String>,
    /// The memory reserved for `items`.
    pub(crate) _reserved: Option<Reserved>,
}

/// A run that is to be queued.
#[derive(Debug)]
pub(crate) struct RunRequest<'run> {
    pub(crate) pipeline: i64,
    /// Full name of a Git reference. Without it the service uses the pipeline's default branch.
    pub(crate) reference: Option<&'run str>,
    /// Template parameters. Each value is a string, because the service accepts no other.
    pub(crate) parameters: &'run serde_json::Map<String, Value>,
}

/// The end of a log.
#[derive(Debug)]
pub(crate) struct LogText {
    pub(crate) text: String,
    /// True if the text begins later than requested.
    pub(crate) cut: bool,
}

impl Call {
    /// Lists builds, the one queued last first. The default order of the service puts completed builds first
    /// and can hide those in progress.
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
        self.page(Operation::Builds, project, "the list of pipeline runs", address)
            .await
    }

    /// Returns one build.
    pub(crate) async fn build(&self, project: &str, id: i64) -> Result<Build, Failure> {
        let what = format!("pipeline run {id}");
        let address = self.core(
            project,
            &["_apis", "build", "builds", &id.to_string()],
            &[VERSION],
        )?;
        let build = self
            .keep_json(&get(Operation::Build, project, &what, address))
            .await?;
        build.ok_or(NO_BODY)
    }

    /// Returns the timeline of a build, or of an earlier attempt with the id `timeline`. A build that has not
    /// begun has no records.
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
            .keep_json::<Option<Timeline>>(&get(Operation::Timeline, project, &what, address))
            .await?;
        Ok(timeline.flatten().unwrap_or_default())
    }

    /// Lists the logs of a build with their lengths.
    pub(crate) async fn logs(&self, project: &str, build: i64) -> Result<Vec<Log>, Failure> {
        let what = format!("the logs of pipeline run {build}");
        let address = self.core(
            project,
            &["_apis", "build", "builds", &build.to_string(), "logs"],
            &[VERSION],
        )?;
        let list = self
            .keep_json::<List<Log>>(&get(Operation::Logs, project, &what, address))
            .await?;
        Ok(list.map(|list| list.value).unwrap_or_default())
    }

    /// Returns a log from `start_line` to its end.
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
            ..get(Operation::Log, project, &what, address)
        };
        let mut answer = self.send(&request).await?;
        answer.reserved.shrink_to(answer.body.len());
        self.keep(answer.reserved).await;
        let text = String::from_utf8_lossy(transport::without_bom(&answer.body)).into_owned();
        Ok(LogText {
            text,
            cut: answer.cut,
        })
    }

    /// Returns one pipeline with the project that owns it.
    pub(crate) async fn definition(&self, project: &str, id: i64) -> Result<Definition, Failure> {
        let what = format!("pipeline {id}");
        let segments = ["_apis", "build", "definitions", &id.to_string()];
        let address = self.core(project, &segments, &[VERSION])?;
        let definition = self
            .keep_json(&get(Operation::Definition, project, &what, address))
            .await?;
        definition.ok_or(NO_BODY)
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
            ..get(Operation::Run, project, &what, address)
        };
        let run = self.keep_json(&request).await.map_err(|failure| match failure {
            // The service accepted the run, but its answer cannot be read.
            Failure::Malformed(_) | Failure::TooLarge => Failure::OutcomeUnknown,
            other => other,
        })?;
        run.ok_or(Failure::OutcomeUnknown)
    }

    /// Lists classic deployments, newest first.
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
        let release = &self.client.inner.options.endpoints.release;
        let segments = [
            self.client.organization(),
            project,
            "_apis",
            "release",
            "deployments",
        ];
        let address = client::address(release, &segments, &pairs)?;
        self.page(
            Operation::Deployments,
            project,
            "the list of deployments",
            address,
        )
        .await
    }

    fn core(&self, project: &str, segments: &[&str], query: &[(&str, &str)]) -> Result<Url, Failure> {
        let mut all = vec![self.client.organization(), project];
        all.extend(segments);
        client::address(&self.client.inner.options.endpoints.core, &all, query)
    }

    async fn page<T: DeserializeOwned>(
        &self,
        operation: Operation,
        project: &str,
        what: &str,
        address: Url,
    ) -> Result<Page<T>, Failure> {
        let Parsed {
            headers,
            value: list,
            reserved,
        } = self
            .json::<List<T>>(&get(operation, project, what, address))
            .await?;
        // A list without entries has a body.
        let List { value: items } = list.ok_or(NO_BODY)?;
        Ok(Page {
            items,
            continuation: continuation(&headers),
            _reserved: Some(reserved),
        })
    }
}

fn get<'request>(
    operation: Operation,
    project: &'request str,
    what: &'request str,
    address: Url,
) -> Request<'request> {
    Request {
        operation,
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
