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
    let plan = judge(&server, &Found::default()).unwrap();
    assert_eq!(plan.access.read_only_tools, read_only_tools);
    assert_eq!(plan.access.writes, writes);
}

#[rstest]
#[case::no_server("server", json!({"server": {"azureDevOps": null}}))]
#[case::organization("server.azureDevOps.organization", json!({"server": {"azureDevOps": {"organization": "a/b"}}}))]
#[case::project("server.azureDevOps.projects", json!({"server": {"azureDevOps": {"projects": ["a/b"]}}}))]
#[case::endpoint("server.azureDevOps.endpoints.core", json!({"server": {"azureDevOps": {"endpoints": {"core": "http://x"}}}}))]
#[case::loader("server.env", json!({"server": {"env": [{"name": "LD_PRELOAD", "value": "/etc/behalf/certificate-authority/ca.crt"}]}}))]
#[case::loader_by_tunables("server.env", json!({"server": {"env": [{"name": "GLIBC_TUNABLES", "value": "x"}]}}))]
#[case::converters("server.env", json!({"server": {"env": [{"name": "GCONV_PATH", "value": "x"}]}}))]
#[case::host_aliases("server.env", json!({"server": {"env": [{"name": "HOSTALIASES", "value": "x"}]}}))]
#[case::proxy("server.env", json!({"server": {"env": [{"name": "https_proxy", "value": "http://evil.example"}]}}))]
#[case::proxy_for_all("server.env", json!({"server": {"env": [{"name": "ALL_PROXY", "value": "http://evil.example"}]}}))]
#[case::azure_variable("server.env", json!({"server": {"env": [{"name": "AZURE_CLIENT_ID", "value": "x"}]}}))]
#[case::behalf_variable("server.env", json!({"server": {"env": [{"name": "BEHALF_LOG", "value": "x"}]}}))]
#[case::keyring("server.env", json!({"server": {"env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "azure-devops-keyring", "key": "keyring.json"}}}]}}))]
#[case::secret("server.env", json!({"server": {"env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "payroll", "key": "password"}}}]}}))]
#[case::project_that_climbs("server.azureDevOps.projects", json!({"server": {"azureDevOps": {"projects": [".."]}}}))]
#[case::project_of_the_api("server.azureDevOps.projects", json!({"server": {"azureDevOps": {"projects": ["_apis"]}}}))]
#[case::project_with_a_dot_behind("server.azureDevOps.projects", json!({"server": {"azureDevOps": {"projects": ["shop."]}}}))]
fn refuses_a_setting_of_the_server(#[case] field: &str, #[case] patch: Value) {
    assert_refused(field, patch);
}
