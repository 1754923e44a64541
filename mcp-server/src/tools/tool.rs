//! The interface of all tools: how the server describes and calls one, and its errors.

use std::sync::Arc;

use async_trait::async_trait;
use rmcp::model::Tool;
use serde::Serialize;
use serde_json::{Map, Value};

use super::arguments::{Arguments, BadInput};
use super::projects::Projects;
use crate::azure_devops::{AzureDevOps, Failure};
use crate::token::UserToken;

/// A tool of this server.
#[async_trait]
pub(super) trait AzureDevOpsTool: Send + Sync {
    /// Returns the name, the schemas and the annotations of the tool. A tool whose annotations are not read-only is
    /// left out of a read-only server.
    fn describe(&self, projects: &Projects) -> Tool;

    /// Answers a call. A tool checks all arguments before it sends a request.
    async fn call(&self, request: ToolRequest<'_>) -> Result<Value, ToolError>;
}

/// A call of a tool.
pub(super) struct ToolRequest<'call> {
    pub(super) arguments: Map<String, Value>,
    pub(super) projects: &'call Projects,
    pub(super) client: &'call AzureDevOps,
    pub(super) token: Arc<dyn UserToken>,
}

/// Why a tool has no answer. The model reads the text in a tool result with `isError`.
#[derive(Debug, thiserror::Error)]
pub(super) enum ToolError {
    /// The model can correct the arguments.
    #[error(transparent)]
    Input(#[from] BadInput),

    /// Azure DevOps refused or failed, or the user has no token.
    #[error(transparent)]
    AzureDevOps(#[from] Failure),
}

/// Converts an answer to JSON.
pub(super) fn to_value(answer: impl Serialize) -> Result<Value, ToolError> {
    serde_json::to_value(answer).map_err(|_| Failure::Malformed("it cannot be written as JSON").into())
}

/// Reads the argument `top`: 20 by default, 50 at most.
pub(super) fn top(arguments: &Arguments) -> Result<usize, BadInput> {
    Ok(arguments
        .integer("top", 1..=50)?
        .and_then(|top| usize::try_from(top).ok())
        .unwrap_or(20))
}
