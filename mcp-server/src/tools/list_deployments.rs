//! `list_deployments`: its arguments, its answer and the requests to Azure DevOps.

mod search;

use std::sync::Arc;

use async_trait::async_trait;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use search::{Next, Position, Search};

use super::arguments::{Arguments, BadInput};
use super::projects::{Projects, project_property};
use super::tool::{AzureDevOpsTool, ToolError, ToolRequest, to_value, top};
use super::{empty_list, fields, schema};
use crate::azure_devops::date;
use crate::azure_devops::wire::Deployment;
use crate::azure_devops::{Call, DeploymentQuery};

const NAME: &str = "list_deployments";

/// The statuses by which the service filters.
const STATUSES: [&str; 6] = [
    "notDeployed",
    "inProgress",
    "succeeded",
    "partiallySucceeded",
    "failed",
    "all",
];

/// Maximum number of pages that one call searches for an environment. The service has no filter by the name of an
/// environment.
const MOST_PAGES: usize = 5;

/// Number of deployments in one page of such a search.
const PAGE_SIZE: usize = 100;

/// The tool. It has no state.
pub(super) struct ListDeployments;

#[async_trait]
impl AzureDevOpsTool for ListDeployments {
    fn describe(&self, projects: &Projects) -> Tool {
        Tool::new(
            NAME,
            "Lists deployments of classic releases, newest first, by environment and status.",
            input(projects),
        )
        .with_title("List deployments")
        .with_raw_output_schema(schema::output::<DeploymentList>())
        .with_annotations(
            ToolAnnotations::with_title("List deployments")
                .read_only(true)
                .destructive(false)
                .idempotent(true)
                .open_world(true),
        )
    }

    async fn call(&self, request: ToolRequest<'_>) -> Result<Value, ToolError> {
        let question = read(request.arguments, request.projects)?;
        let call = Call::begin(request.client, request.token).await?;
        to_value(answer(&call, question).await?)
    }
}

fn input(projects: &Projects) -> Arc<JsonObject> {
    let (project, required) = project_property(projects);
    schema::input(
        json!({
            "environment": {
                "type": "string",
                "description": "Only deployments to the environment with this name, for example Production.",
            },
            "status": {"type": "string", "enum": STATUSES, "description": "Only deployments with this status."},
            "top": {"type": "integer", "minimum": 1, "maximum": 50, "default": 20, "description": "Maximum number of deployments."},
            "project": project,
            "continuation_token": {
                "type": "string",
                "description": "The value of an earlier answer, to continue the list. All other arguments must be the same.",
            },
        }),
        &required,
    )
}

/// The answer of `list_deployments`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeploymentList {
    /// Name of the project.
    pub(super) project: String,

    /// Deployments of classic releases, newest first.
    pub(super) deployments: Vec<ClassicDeployment>,

    /// Present if there are older deployments: call again with the same arguments and this `continuation_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) continuation_token: Option<String>,

    /// Why the list is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// A deployment of a classic release to an environment.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct ClassicDeployment {
    /// The deployment's id.
    pub(super) deployment_id: i64,

    /// Name of the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) environment: Option<String>,

    /// notDeployed, inProgress, succeeded, partiallySucceeded or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,

    /// The current or last step, for example phaseFailed, pending or manualInterventionPending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation_status: Option<String>,

    /// The attempt; the first is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attempt: Option<i64>,

    /// The release's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) release_id: Option<i64>,

    /// The release's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) release: Option<String>,

    /// Name of the release pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) release_pipeline: Option<String>,

    /// The trigger, for example manual, automated or schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,

    /// Display name of the person who requested the deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requested_for: Option<String>,

    /// Time when the deployment was queued, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queued_at: Option<String>,

    /// Time when the deployment started, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started_at: Option<String>,

    /// Time of the last change, RFC 3339. The end of a completed deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_changed_at: Option<String>,

    /// Address of the release for a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
}

impl ClassicDeployment {
    /// Reduces a deployment to what the tool returns.
    pub(super) fn new(deployment: &Deployment) -> Self {
        let release = deployment.release.as_ref();
        let pipeline = deployment.release_definition.as_ref();
        Self {
            deployment_id: deployment.id,
            environment: environment(deployment),
            status: fields::enumeration(deployment.status.as_deref()),
            operation_status: fields::enumeration(deployment.operation_status.as_deref()),
            attempt: deployment.attempt,
            release_id: release.and_then(|release| release.id),
            release: fields::name(release.and_then(|release| release.name.as_deref())),
            release_pipeline: fields::name(pipeline.and_then(|pipeline| pipeline.name.as_deref())),
            reason: fields::enumeration(deployment.reason.as_deref()),
            requested_for: fields::name(
                deployment
                    .requested_for
                    .as_ref()
                    .and_then(|person| person.display_name.as_deref()),
            ),
            queued_at: deployment.queued_on.map(date::seconds),
            started_at: deployment.started_on.map(date::seconds),
            last_changed_at: deployment.last_modified_on.map(date::seconds),
            url: release.and_then(|release| fields::link(release.web_access_uri.as_deref())),
        }
    }
}

/// Returns the name of the environment of a deployment.
fn environment(deployment: &Deployment) -> Option<String> {
    fields::name(
        deployment
            .release_environment
            .as_ref()
            .and_then(|environment| environment.name.as_deref()),
    )
}

/// The arguments of a call.
#[derive(Debug)]
struct Question {
    project: String,
    environment: Option<String>,
    status: Option<&'static str>,
    top: usize,
    start: Position,
}

fn read(values: Map<String, Value>, projects: &Projects) -> Result<Question, BadInput> {
    let known = ["environment", "status", "top", "project", "continuation_token"];
    let arguments = Arguments::new(values, &known)?;
    let status = arguments.text("status")?.map(status).transpose()?;
    Ok(Question {
        project: projects.choose(arguments.text("project")?)?,
        environment: arguments.text("environment")?.map(str::to_owned),
        status: status.filter(|status| *status != "all"),
        top: top(&arguments)?,
        start: Position::read(arguments.text("continuation_token")?)?,
    })
}

fn status(asked: &str) -> Result<&'static str, BadInput> {
    STATUSES
        .into_iter()
        .find(|status| status.eq_ignore_ascii_case(asked))
        .ok_or_else(|| {
            BadInput(format!(
                "there is no deployment status {:?}; use one of {}",
                asked.chars().take(60).collect::<String>(),
                STATUSES.join(", ")
            ))
        })
}

async fn answer(call: &Call, question: Question) -> Result<DeploymentList, ToolError> {
    let mut search = Search::new(&question);
    // Without a filter one page has all requested deployments.
    let (pages, size) = if question.environment.is_some() {
        (MOST_PAGES, PAGE_SIZE)
    } else {
        (1, question.top)
    };
    for _ in 0..pages {
        let query = DeploymentQuery {
            status: question.status,
            top: size,
            continuation: search.position.page.as_deref(),
        };
        let page = call.deployments(&question.project, &query).await?;
        if search.add(&page) == Next::Stop {
            break;
        }
    }
    let note = note(call, &question, &search).await;
    Ok(DeploymentList {
        project: question.project.clone(),
        continuation_token: search.more.then(|| search.position.write()),
        deployments: search.found,
        note,
    })
}

/// Returns why no deployment was found.
async fn note(call: &Call, question: &Question, search: &Search<'_>) -> Option<String> {
    if !search.found.is_empty() {
        return None;
    }
    let Some(asked) = &question.environment else {
        if !question.start.is_first() {
            return None;
        }
        return Some(empty_list::explain(call, "deployments").await);
    };
    let asked: String = asked.chars().take(100).collect();
    Some(if search.others.is_empty() {
        empty_list::explain(call, "deployments").await
    } else {
        let others: Vec<&str> = search.others.iter().take(20).map(String::as_str).collect();
        let searched = if search.more {
            " among those searched so far"
        } else {
            ""
        };
        format!(
            "No deployment to an environment named {asked:?}{searched}; there are deployments to: {}.",
            others.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_null_dates_and_converts_pascal_case() {
        let wire: Deployment = serde_json::from_value(json!({
            "id": 52, "attempt": 1, "deploymentStatus": "failed", "operationStatus": "PhaseFailed",
            "release": {"id": 31, "name": "Release-31", "webAccessUri": "https://dev.azure.com/contoso/shop/_release?releaseId=31"},
            "releaseDefinition": {"id": 4, "name": "shop-cd"}, "releaseEnvironment": {"id": 77, "name": "Staging"},
            "queuedOn": "0001-01-01T00:00:00", "startedOn": "2026-04-01T12:00:00.5Z",
        }))
        .unwrap();
        let reduced = ClassicDeployment::new(&wire);
        assert_eq!(reduced.operation_status.as_deref(), Some("phaseFailed"));
        assert_eq!(reduced.queued_at, None);
        assert_eq!(reduced.environment.as_deref(), Some("Staging"));
        assert!(reduced.url.is_some());
    }
}
