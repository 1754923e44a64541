//! `list_deployments`: its arguments, its answer and the requests to Azure DevOps.

pub(super) mod deployment;
mod search;

use std::sync::Arc;

use async_trait::async_trait;
use rmcp::model::{JsonObject, Tool};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use deployment::ClassicDeployment;
use search::{Next, Position, Search};

use super::arguments::{Arguments, BadInput};
use super::projects::{Projects, project_property};
use super::tool::{AzureDevOpsTool, ToolError, ToolRequest, to_value, top};
use super::{empty_list, schema};
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
const MAX_PAGES: usize = 5;

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
        .with_annotations(schema::read_only("List deployments"))
    }

    async fn call(&self, request: ToolRequest<'_>) -> Result<Value, ToolError> {
        let input = read(request.arguments, request.projects)?;
        let call = Call::begin(request.client, request.token).await?;
        to_value(answer(&call, input).await?)
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
            "top": schema::top("deployments"),
            "project": project,
            "continuation_token": schema::continuation_token(),
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

/// The arguments of a call.
#[derive(Debug)]
struct ListDeploymentsInput {
    project: String,
    environment: Option<String>,
    status: Option<&'static str>,
    top: usize,
    start: Position,
}

fn read(values: Map<String, Value>, projects: &Projects) -> Result<ListDeploymentsInput, BadInput> {
    let known = ["environment", "status", "top", "project", "continuation_token"];
    let arguments = Arguments::new(values, &known)?;
    let status = arguments.text("status")?.map(status).transpose()?;
    Ok(ListDeploymentsInput {
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

async fn answer(call: &Call, input: ListDeploymentsInput) -> Result<DeploymentList, ToolError> {
    let mut search = Search::new(input.environment.as_deref(), input.top, input.start.clone());
    // Without a filter one page has all requested deployments.
    let (pages, size) = if input.environment.is_some() {
        (MAX_PAGES, PAGE_SIZE)
    } else {
        (1, input.top)
    };
    for _ in 0..pages {
        let query = DeploymentQuery {
            status: input.status,
            top: size,
            continuation: search.position.page.as_deref(),
        };
        let page = call.deployments(&input.project, &query).await?;
        if search.add(&page) == Next::Stop {
            break;
        }
    }
    let note = explain_none_found(call, &input, &search).await;
    Ok(DeploymentList {
        project: input.project.clone(),
        continuation_token: search.more.then(|| search.position.write()),
        deployments: search.found,
        note,
    })
}

/// Returns why no deployment was found.
async fn explain_none_found(
    call: &Call,
    input: &ListDeploymentsInput,
    search: &Search<'_>,
) -> Option<String> {
    if !search.found.is_empty() {
        return None;
    }
    let Some(asked) = &input.environment else {
        if !input.start.is_first() {
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
