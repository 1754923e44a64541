//! The tools, and the MCP server that offers them.

mod arguments;
mod failures;
mod get_run_failure_logs;
mod list_deployments;
mod list_pipeline_runs;
mod notes;
mod output;
mod projects;
#[cfg(test)]
mod recorded;
mod reduce;
mod schema;
mod server;
mod tail;
mod trigger_pipeline_run;

use serde_json::{Value, json};

pub(crate) use projects::{Projects, check_name};
pub(crate) use server::{CredentialSource, Tools};

use crate::azure_devops::Failure;
use arguments::{Arguments, BadInput};

/// Why a tool gives no answer. Every one of these reaches the model as a tool result with `isError`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    /// The model can correct it.
    #[error(transparent)]
    Input(#[from] BadInput),

    /// Azure DevOps, or the way to it.
    #[error(transparent)]
    AzureDevOps(#[from] Failure),
}

/// `top`: 20 unless told, 50 at most.
fn top(arguments: &Arguments) -> Result<usize, BadInput> {
    Ok(arguments
        .integer("top", 1..=50)?
        .and_then(|top| usize::try_from(top).ok())
        .unwrap_or(20))
}

/// The schema of `project`, and its name when it must be given.
fn project_property(projects: &Projects) -> (Value, Vec<&'static str>) {
    let permitted = projects.permitted();
    match projects.default_project() {
        Some(only) => (
            json!({"type": "string", "enum": [only], "default": only, "description": "The Azure DevOps project."}),
            Vec::new(),
        ),
        None if permitted.is_empty() => (
            json!({"type": "string", "description": "Name of the Azure DevOps project."}),
            vec!["project"],
        ),
        None => (
            json!({"type": "string", "enum": permitted, "description": "The Azure DevOps project."}),
            vec!["project"],
        ),
    }
}
