//! The tools, and the MCP server that offers them. A new tool is a file of its own and an entry of [`TOOLS`].

mod arguments;
mod empty_list;
mod fields;
mod get_run_failure_logs;
mod list_deployments;
mod list_pipeline_runs;
mod methods;
mod pipeline_run;
mod projects;
mod schema;
mod server;
mod tool;
mod trigger_pipeline_run;

use get_run_failure_logs::GetRunFailureLogs;
use list_deployments::ListDeployments;
use list_pipeline_runs::ListPipelineRuns;
pub(crate) use projects::{Projects, check_name};
pub(crate) use server::{CredentialSource, McpServer};
use tool::AzureDevOpsTool;
use trigger_pipeline_run::TriggerPipelineRun;

/// All tools, in the order of `tools/list`.
const TOOLS: [&dyn AzureDevOpsTool; 4] = [
    &ListPipelineRuns,
    &GetRunFailureLogs,
    &ListDeployments,
    &TriggerPipelineRun,
];

#[cfg(test)]
mod tests {
    mod recorded_answers;
}
