//! Tests the validation of the MCP server.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[rstest]
#[case::all(json!({}), &["list_pipeline_runs", "get_run_failure_logs", "list_deployments"], true)]
#[case::both(
    json!({"toolsets": ["Releases", "Pipelines"]}),
    &["list_pipeline_runs", "get_run_failure_logs", "list_deployments"],
    true
)]
#[case::pipelines(
    json!({"toolsets": ["Pipelines"]}),
    &["list_pipeline_runs", "get_run_failure_logs"],
    true
)]
#[case::pipelines_that_only_read(
    json!({"toolsets": ["Pipelines"], "readOnly": true}),
    &["list_pipeline_runs", "get_run_failure_logs"],
    false
)]
#[case::releases(json!({"toolsets": ["Releases"]}), &["list_deployments"], false)]
fn clients_can_request_to_run_tools_only_if_an_offered_tool_changes_something(
    #[case] settings: Value,
    #[case] read_only_tools: &[&str],
    #[case] writes: bool,
) {
    let server = quickstart_with(json!({"server": {"azureDevOps": settings}}));
    let plan = judge(&server, &ClusterState::default()).unwrap();
    assert_eq!(plan.access.read_only_tools, read_only_tools);
    assert_eq!(plan.access.writes, writes);
}
